// Clients that sign in as themselves, with no user about: the SDKs' own providers for client credentials, by secret and by
// signed assertion, with bearer tokens and with tokens bound to a key. Nothing is pasted.
import fs from 'node:fs';
import path from 'node:path';

import { assert, refused, suite } from '../lib/check.mjs';
import { sdk, words } from '../lib/client.mjs';
import { assertionKey, credentialServer, SECRET } from '../lib/credential-server.mjs';
import { drive } from '../lib/driven.mjs';
import { fixture } from '../lib/fixture.mjs';
import { folder, records, serve } from '../lib/portcullis.mjs';
import { freePort, home, repository } from '../lib/process.mjs';

const { Client, ClientCredentialsProvider, DpopSession, PrivateKeyJwtProvider, StreamableHTTPClientTransport } = sdk.v2;
const POLICY = '[[rule]]\nid = "use"\ntools = ["test_*"]\nscopes = ["use"]\n';
const SIMPLE = { name: 'test_simple_text', arguments: {} };
const SAYS = /This is a simple text response for testing\./;
const ERAS = { initialize: {}, '2026-07-28': { versionNegotiation: { mode: { pin: '2026-07-28' } } } };

await suite('machines', async (check) => {
  const cwd = folder();
  const pem = path.join(cwd, 'client.pem');
  const key = assertionKey(pem);
  const upstream = await fixture();
  const port = await freePort();
  const names = { plain: [], proved: ['dpop = { required = true }'], nonces: ['dpop = { required = true, nonces = true }'] };
  const formats = {};
  for (const name of Object.keys(names)) formats[`http://127.0.0.1:${port}/${name}/mcp`] = 'jwt';
  const server = await credentialServer({ formats, assertionKey: key });
  const servers = {};
  for (const [name, extra] of Object.entries(names)) servers[name] = { upstream: upstream.url, policy: POLICY, extra };
  const proxy = await serve({ issuer: server.issuer, port, servers });

  /** The calls that were allowed since it was last asked: who made them. */
  let counted = 0;
  const callers = () => {
    const calls = records(proxy.audit).filter((line) => line.event === 'call' && line.tool === SIMPLE.name);
    return calls.slice(counted, counted = calls.length).map((line) => line.subject.client_id);
  };

  const by = {
    secret: { client: 'basic', make: (Base, more) => new Base({ clientId: 'basic', clientSecret: SECRET, ...more }), Base: ClientCredentialsProvider },
    assertion: {
      client: 'signed',
      make: (Base, more) => new Base({ clientId: 'signed', privateKey: fs.readFileSync(pem, 'utf8'), algorithm: 'ES256', ...more }),
      Base: PrivateKeyJwtProvider,
    },
  };
  /** Connects, calls three times and closes; every answer of the proxy and what was asked with. */
  const session = async (name, provider, options) => {
    const seen = [];
    const watched = async (input, init) => {
      const response = await fetch(input, init);
      if (String(input?.url ?? input) === proxy.urls[name]) {
        const headers = new Headers(init?.headers);
        seen.push({ status: response.status, scheme: headers.get('authorization')?.split(' ')[0], proof: headers.get('dpop'), answer: response.headers });
      }
      return response;
    };
    const client = new Client({ name: 'interop-machine', version: '1.0.0' }, { capabilities: {}, ...options });
    await client.connect(new StreamableHTTPClientTransport(new URL(proxy.urls[name]), { authProvider: provider, fetch: watched }));
    for (let time = 0; time < 3; time += 1) assert.match(words(await client.callTool(SIMPLE)), SAYS);
    await client.close();
    return seen;
  };
  /** The same provider with a key of its own. */
  const bound = (Base) => class extends Base {
    #session = DpopSession.create();

    dpop() {
      return this.#session;
    }
  };

  for (const [era, options] of Object.entries(ERAS)) {
    for (const [way, { client, make, Base }] of Object.entries(by)) {
      const at = `TypeScript v2, ${era}, ${way}`;
      await check(`${at}: is refused, finds the issuer, signs in as itself, calls`, async () => {
        const seen = await session('plain', make(Base, { expectedIssuer: server.issuer }), options);
        assert.equal(seen[0].status, 401);
        assert.ok(seen.slice(1).every(({ status, scheme }) => status < 300 && scheme === 'Bearer'), JSON.stringify(seen));
        assert.deepEqual(callers(), [client, client, client]);
      });
      await check(`${at}: with a key, every request has a proof of its own`, async () => {
        const seen = await session('proved', make(bound(Base), { expectedIssuer: server.issuer }), options);
        const [first, ...others] = seen;
        assert.ok(first.status === 401 && /^DPoP .*algs="ES256/.test(first.answer.get('www-authenticate')), 'DPoP is not asked for');
        assert.ok(others.every(({ status, scheme }) => status < 300 && scheme === 'DPoP'), JSON.stringify(seen));
        assert.equal(new Set(others.map(({ proof }) => proof)).size, others.length);
        assert.deepEqual(callers(), [client, client, client]);
      });
      await check(`${at}: with a key, the nonces of the proxy are learned and shown`, async () => {
        const seen = await session('nonces', make(bound(Base), { expectedIssuer: server.issuer }), options);
        const wanted = seen.filter(({ answer }) => /error="use_dpop_nonce"/.test(answer.get('www-authenticate')));
        assert.equal(wanted.length, 1, 'a nonce is asked for once');
        const nonces = seen.filter(({ status }) => status < 300).map(({ proof }) => JSON.parse(Buffer.from(proof.split('.')[1], 'base64url')).nonce);
        assert.ok(nonces.length > 3 && nonces.every(Boolean), 'a proof without nonce was taken');
        assert.deepEqual(callers(), [client, client, client]);
      });
    }
  }

  await check('TypeScript v2: a client without a key gets nowhere where one is required', async () => {
    const { make, Base } = by.secret;
    await refused(() => session('proved', make(Base, { expectedIssuer: server.issuer }), {}));
    assert.deepEqual(callers(), []);
  });

  const python = path.join(home, 'python/bin/python');
  const programs = {
    Python: { command: python, args: [path.join(repository, 'tests/interop/programs/machine.py')], modes: { legacy: /^2025-/, auto: /^2026-07-28$/ } },
    rmcp: { command: path.join(home, 'rmcp/debug/machine'), args: [], modes: { legacy: /^2025-/, modern: /^2026-07-28$/ } },
  };
  for (const [name, { command, args, modes }] of Object.entries(programs)) {
    for (const [mode, version] of Object.entries(modes)) {
      for (const client of ['basic', 'post', 'signed']) {
        // rmcp sends a secret in the body wherever the server knows that way.
        if (name === 'rmcp' && client === 'basic') continue;
        await check(`${name}, ${mode}, as \`${client}\`: finds the issuer, signs in as itself, calls`, async () => {
          const shown = client === 'signed' ? pem : SECRET;
          const told = await drive(command, [...args, proxy.urls.plain, mode, server.issuer, client, shown, JSON.stringify(SIMPLE)]);
          assert.match(String(told.version), version);
          assert.match(told.said, SAYS);
          assert.deepEqual(callers(), [client]);
        });
      }
    }
  }

  await check('nothing secret is in the audit', async () => {
    const text = fs.readFileSync(proxy.audit, 'utf8');
    assert.ok(!text.includes(SECRET) && !/eyJ[\w-]+\.[\w-]+\.[\w-]+/.test(text));
  });

  await server.close();
});
