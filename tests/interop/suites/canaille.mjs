// Canaille, an identity server in Python: what it gives the proxy by secret and by signed assertion, and what it says of the
// opaque tokens it gives to callers.
import fs from 'node:fs';
import path from 'node:path';

import { assert, suite, until } from '../lib/check.mjs';
import { assertionKey, SECRET } from '../lib/credential-server.mjs';
import { binary, folder, serve } from '../lib/portcullis.mjs';
import { freePort, home, run, start } from '../lib/process.mjs';
import { call, policy, recorder } from '../lib/recorder.mjs';

await suite('canaille', async (check) => {
  const cwd = folder();
  const at = (name) => path.join(cwd, name);
  fs.writeFileSync(at('secret'), SECRET, { mode: 0o600 });
  const key = assertionKey(at('client.pem'));
  const program = path.join(import.meta.dirname, '../programs/identity_server.py');
  const port = await freePort();
  const python = path.join(home, 'python/bin/python');
  const server = await start('canaille', python, [program, String(port), JSON.stringify(key)], { cwd, ready: /^listening (\S+)/ });
  const issuer = server.ready[1];
  const text = JSON.stringify;

  const form = async (where, fields, client = 'caller') => {
    const authorization = `Basic ${Buffer.from(`${client}:${SECRET}`).toString('base64')}`;
    const response = await fetch(`${issuer}/oauth/${where}`, { method: 'POST', body: new URLSearchParams(fields), headers: { authorization } });
    return response.json().catch(() => ({}));
  };
  const callers = async () => (await form('token', { grant_type: 'client_credentials', scope: 'openid' })).access_token;
  const introspect = (token) => form('introspect', { token }, 'portcullis');

  const upstream = await recorder();
  const granted = (name, client, more) => [
    'audiences = ["portcullis"]',
    `[servers.${name}.upstream_auth]`, 'type = "client_credentials"', `issuer = ${text(issuer)}`, `client_id = ${text(client)}`,
    'scopes = ["openid"]', ...more,
  ];
  const secret = `client_secret = { file = ${text(at('secret'))} }`;
  const entry = (extra) => ({ upstream: upstream.url, policy, extra });
  const proxy = await serve({
    issuer,
    issuerKeys: [
      '[issuers.interop.introspection]', `endpoint = ${text(`${issuer}/oauth/introspect`)}`, 'client_id = "portcullis"', secret,
      'cache_ttl = "1s"',
    ],
    servers: {
      basic: entry(granted('basic', 'portcullis', [secret])),
      post: entry(granted('post', 'portcullis-post', [secret, 'auth_method = "client_secret_post"'])),
      signed: entry(granted('signed', 'portcullis-signed', [
        // It takes assertions for its token endpoint, as servers did before they took those for the issuer.
        'auth_method = "private_key_jwt"', `private_key_file = ${text(at('client.pem'))}`, 'key_id = "k1"',
        `assertion_audience = ${text(`${issuer}/oauth/token`)}`,
      ])),
      other: entry(['audiences = ["somebody-else"]']),
    },
  });

  for (const [name, client] of [['basic', 'portcullis'], ['post', 'portcullis-post'], ['signed', 'portcullis-signed']]) {
    await check(`client_credentials as ${client}: the upstream is shown a token that is good there`, async () => {
      const token = await callers();
      for (let time = 0; time < 2; time += 1) {
        const answer = await call(proxy.urls[name], token);
        assert.equal(answer.status, 200, `${answer.challenge} ${answer.text}`);
      }
      const [first, second] = upstream.shown.splice(0);
      assert.ok(first === second && !first.includes(token), 'it is asked for once, and is not the caller\'s');
      const said = await introspect(first.replace('Bearer ', ''));
      assert.deepEqual([said.active, said.client_id], [true, client]);
    });
  }

  await check('an opaque token is for whom the server says, until it is revoked', async () => {
    const token = await callers();
    assert.equal((await call(proxy.urls.basic, token)).status, 200);
    assert.equal((await call(proxy.urls.other, token)).status, 401, 'it is for another server');
    await form('revoke', { token });
    await until('the refusal', async () => (await call(proxy.urls.basic, token)).status === 401);
    assert.equal((await call(proxy.urls.basic, 'made-up-0123456789-0123456789')).status, 401);
  });

  await check('doctor finds its metadata and its keys', async () => {
    const { code, stdout } = await run('doctor', binary, ['doctor', '--issuer', issuer, '--client', 'cursor', '--format', 'json']);
    const steps = JSON.parse(stdout).sections.flatMap((section) => section.steps);
    const of = (name) => steps.filter((step) => step.name === name).map((step) => step.status);
    assert.deepEqual([code, of('PKCE'), of('keys'), of('registration'), of('cursor')], [0, ['ok'], ['ok'], ['ok'], ['ok']], stdout);
  });

  await upstream.close();
});
