// Keys rotate while calls run: tokens of the new key and of the old ones are good at once, and nothing fails.
import { assert, suite } from '../lib/check.mjs';
import { fixture, policy, scopes } from '../lib/fixture.mjs';
import { stack } from '../lib/stack.mjs';

const ROTATIONS = 4;
const EVERY_MS = 1_000;
const RATE = 20;

await suite('rotation', async (check) => {
  const upstream = await fixture();
  for (const alg of ['RS256', 'ES256']) {
    const { issuer, urls } = await stack({ fixture: { upstream: upstream.url, policy, scopes } }, { alg });
    const url = urls.fixture;
    const tokens = [await issuer.token(url, scopes)];
    const bad = [];
    let sent = 0;
    const call = async () => {
      sent += 1;
      const token = tokens[sent % Math.min(tokens.length, 3)];
      const status = await ask(url, token).catch((error) => error.message);
      if (status !== 200) bad.push(status);
    };
    await check(`${alg}: ${ROTATIONS} rotations under ${RATE} requests a second, none fails`, async () => {
      const load = [];
      const pace = setInterval(() => load.push(call()), 1000 / RATE);
      for (let rotation = 0; rotation < ROTATIONS; rotation += 1) {
        await new Promise((resolve) => setTimeout(resolve, EVERY_MS));
        issuer.rotate();
        // The newest first: it is the one whose key nobody has seen.
        tokens.unshift(await issuer.token(url, scopes));
      }
      await new Promise((resolve) => setTimeout(resolve, EVERY_MS));
      clearInterval(pace);
      await Promise.all(load);
      assert.deepEqual(bad, []);
      assert.ok(sent >= ROTATIONS * RATE, `only ${sent} requests were sent`);
    });
    await check(`${alg}: a signature that fits no key is still refused`, async () => {
      const [head, claims, signature] = tokens[0].split('.');
      const flipped = `${signature[0] === 'A' ? 'B' : 'A'}${signature.slice(1)}`;
      assert.equal(await ask(url, [head, claims, flipped].join('.')), 401);
    });
    await issuer.close();
  }
});

/** The status of one `tools/call` of 2026-07-28. */
async function ask(url, token) {
  const response = await fetch(url, {
    method: 'POST',
    headers: {
      accept: 'application/json, text/event-stream',
      authorization: `Bearer ${token}`,
      'content-type': 'application/json',
      'mcp-method': 'tools/call',
      'mcp-name': 'test_simple_text',
      'mcp-protocol-version': '2026-07-28',
    },
    body: JSON.stringify({
      jsonrpc: '2.0',
      id: 1,
      method: 'tools/call',
      params: {
        name: 'test_simple_text',
        arguments: {},
        _meta: {
          'io.modelcontextprotocol/protocolVersion': '2026-07-28',
          'io.modelcontextprotocol/clientCapabilities': {},
        },
      },
    }),
  });
  await response.text();
  return response.status;
}
