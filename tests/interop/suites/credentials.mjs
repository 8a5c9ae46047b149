// Tokens out of `oidc-provider`: those the proxy asks for in its own name and in its callers', those that can only be asked
// about, and those that are bound to a client's key.
import fs from 'node:fs';
import path from 'node:path';

import { assert, suite, until } from '../lib/check.mjs';
import { assertionKey, credentialServer, dpopKey, SECRET } from '../lib/credential-server.mjs';
import { certificates, folder, records, serve } from '../lib/portcullis.mjs';
import { call, policy, recorder } from '../lib/recorder.mjs';
import { freePort } from '../lib/process.mjs';

const API = 'https://api.example.com';

await suite('credentials', async (check) => {
  const cwd = folder();
  const at = (name) => path.join(cwd, name);
  fs.writeFileSync(at('secret'), SECRET, { mode: 0o600 });
  const key = assertionKey(at('client.pem'));
  const text = JSON.stringify;
  const upstream = await recorder();
  const port = await freePort();
  const origin = `http://127.0.0.1:${port}`;
  const names = ['basic', 'post', 'signed', 'exchange', 'nowhere', 'opaque', 'bound'];
  const formats = { [API]: 'opaque' };
  for (const name of names) formats[`${origin}/${name}/mcp`] = name === 'opaque' ? 'opaque' : 'jwt';
  const server = await credentialServer({ formats, assertionKey: key });

  const granted = (name, type, client, more = []) => [
    `[servers.${name}.upstream_auth]`, `type = ${text(type)}`, `issuer = ${text(server.issuer)}`, `client_id = ${text(client)}`,
    ...more,
  ];
  const secret = `client_secret = { file = ${text(at('secret'))} }`;
  const resource = `resource = ${text(API)}`;
  const entry = (extra) => ({ upstream: upstream.url, policy, extra });
  const proxy = await serve({
    issuer: server.issuer,
    port,
    issuerKeys: [
      '[issuers.interop.introspection]', `endpoint = ${text(`${server.issuer}/token/introspection`)}`, 'client_id = "basic"', secret,
      'cache_ttl = "1s"',
    ],
    servers: {
      basic: entry(granted('basic', 'client_credentials', 'basic', [secret, resource])),
      post: entry(granted('post', 'client_credentials', 'post', [secret, resource, 'auth_method = "client_secret_post"'])),
      signed: entry(granted('signed', 'client_credentials', 'signed', [
        'auth_method = "private_key_jwt"', `private_key_file = ${text(at('client.pem'))}`, 'key_id = "k1"', resource,
      ])),
      exchange: entry(granted('exchange', 'token_exchange', 'basic', [secret, resource, 'scopes = ["use"]'])),
      nowhere: entry(granted('nowhere', 'token_exchange', 'basic', [secret, 'resource = "https://nowhere.example.com"'])),
      opaque: entry([]),
      bound: entry(['dpop = {}']),
    },
  });
  const url = (name) => proxy.urls[name];
  const callers = async (name) => (await server.token(url(name))).answer.access_token;

  for (const name of ['basic', 'post', 'signed']) {
    await check(`client_credentials with client_${name}: the upstream is shown a token that is good there`, async () => {
      const token = await callers(name);
      for (let time = 0; time < 3; time += 1) assert.equal((await call(url(name), token)).status, 200);
      const [first, ...others] = upstream.shown.splice(0);
      assert.ok(others.length === 2 && others.every((other) => other === first), 'it is asked for once');
      assert.ok(!first.includes(token), 'the caller\'s token went up');
      const said = await server.introspect(first.replace('Bearer ', ''));
      assert.deepEqual([said.active, said.client_id, said.aud], [true, name, API]);
    });
  }

  await check('token exchange: each caller has a token of its own, for the upstream alone', async () => {
    const [one, other] = [await callers('exchange'), await callers('exchange')];
    for (const token of [one, other, one]) assert.equal((await call(url('exchange'), token)).status, 200);
    const shown = upstream.shown.splice(0);
    assert.ok(shown[0] === shown[2] && shown[0] !== shown[1], 'two callers share a token, or one has two');
    const said = await server.introspect(shown[0].replace('Bearer ', ''));
    assert.deepEqual([said.active, said.aud, said.client_id], [true, API, 'basic']);
    const forms = server.asked.splice(0);
    assert.deepEqual(forms.map((form) => form.subject_token), [one, other]);
    assert.equal(forms[0].subject_token_type, 'urn:ietf:params:oauth:token-type:access_token');
  });

  await check('token exchange: invalid_target is the proxy\'s trouble, not the caller\'s', async () => {
    const { status, challenge } = await call(url('nowhere'), await callers('nowhere'));
    assert.deepEqual([status, challenge], [502, null]);
    assert.deepEqual(upstream.shown.splice(0), []);
  });

  await check('an opaque token is asked about, and refused once it is revoked', async () => {
    const token = await callers('opaque');
    assert.ok(!token.includes('.'), 'it is not opaque');
    assert.equal((await call(url('opaque'), token)).status, 200);
    assert.equal((await call(url('basic'), token)).status, 401, 'it is for another server');
    await server.revoke(token);
    await until('the refusal', async () => (await call(url('opaque'), token)).status === 401);
    assert.equal((await call(url('opaque'), 'made-up-0123456789-0123456789')).status, 401);
    upstream.shown.splice(0);
  });

  await check('DPoP: a token bound to a key opens with its proofs, each once', async () => {
    const client = await dpopKey();
    const endpoint = `${server.issuer}/token`;
    const given = await server.token(url('bound'), { dpop: await client.proof('POST', endpoint) });
    assert.equal(given.answer.token_type, 'DPoP', JSON.stringify(given));
    const token = given.answer.access_token;
    const proof = await client.proof('POST', url('bound'), { token });
    assert.equal((await call(url('bound'), token, { scheme: 'DPoP', proof })).status, 200);
    const again = await call(url('bound'), token, { scheme: 'DPoP', proof });
    assert.ok(again.status === 401 && again.challenge.includes('invalid_dpop_proof'), 'a proof was good twice');
    assert.equal((await call(url('bound'), token)).status, 401, 'as a plain token');
    const other = await (await dpopKey()).proof('POST', url('bound'), { token });
    assert.equal((await call(url('bound'), token, { scheme: 'DPoP', proof: other })).status, 401, 'with another key');
    assert.equal(upstream.shown.splice(0).length, 1);
  });

  await check('tls_client_auth: the proxy shows its certificate to the token endpoint, and where it asks about tokens', async () => {
    const tls = await certificates();
    const own = `client_certificate = { cert_file = ${text(tls.cert)}, key_file = ${text(tls.key)} }`;
    const held = await freePort();
    const resources = { [API]: 'opaque', [`http://127.0.0.1:${held}/certified/mcp`]: 'opaque' };
    const certified = await credentialServer({ formats: resources, assertionKey: key, tls });
    const trusted = `ca_file = ${text(tls.ca)}`;
    const second = await serve({
      issuer: certified.issuer,
      port: held,
      issuerKeys: [
        trusted, '[issuers.interop.introspection]', `endpoint = ${text(`${certified.issuer}/token/introspection`)}`, 'client_id = "certified"',
        'auth_method = "tls_client_auth"', own,
      ],
      servers: {
        certified: entry([
          '[servers.certified.upstream_auth]', 'type = "client_credentials"', `issuer = ${text(certified.issuer)}`, 'client_id = "certified"',
          'auth_method = "tls_client_auth"', own, trusted, resource,
        ]),
      },
    });
    const token = (await certified.token(second.urls.certified)).answer.access_token;
    const answer = await call(second.urls.certified, token);
    assert.equal(answer.status, 200, answer.text);
    const shown = upstream.shown.splice(0)[0].replace('Bearer ', '');
    assert.deepEqual([shown === token, (await certified.introspect(shown)).client_id], [false, 'certified']);
    await certified.close();
  });

  await check('the audit says which credential was shown, and never its value', async () => {
    const ends = records(proxy.audit).filter((line) => line.event === 'end' && line.http === 200);
    const kinds = new Set(ends.map((line) => line.credential?.type ?? 'none'));
    assert.deepEqual([...kinds].sort(), ['client_credentials', 'none', 'token_exchange']);
    assert.ok(ends.every((line) => !line.credential || line.credential.iss === server.issuer));
    assert.ok(!fs.readFileSync(proxy.audit, 'utf8').includes(SECRET));
  });

  await upstream.close();
  await server.close();
});
