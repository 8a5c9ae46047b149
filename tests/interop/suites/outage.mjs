// An authorization server that is away for an hour and a bit, by the proxy's own clock, which is moved: `libfaketime` stands
// between the program and the system. Every request meanwhile is answered 200, and what must end ends.
import fs from 'node:fs';
import path from 'node:path';

import { assert, suite, until } from '../lib/check.mjs';
import { assertionKey, credentialServer } from '../lib/credential-server.mjs';
import { folder, serve } from '../lib/portcullis.mjs';
import { freePort, home } from '../lib/process.mjs';
import { call, policy, recorder } from '../lib/recorder.mjs';

const MINUTES = 60;
const LIFETIME = (MINUTES + 30) * 60;
const EACH = 5;

await suite('outage', async (check) => {
  const cwd = folder();
  const clock = path.join(cwd, 'clock');
  const library = path.join(home, 'python/lib/python3.11/site-packages/libfaketime/vendor/libfaketime/src/libfaketime.so.1');
  const moved = (seconds) => {
    fs.writeFileSync(`${clock}.new`, `+${seconds}\n`);
    fs.renameSync(`${clock}.new`, clock);
  };
  moved(0);
  const key = assertionKey(path.join(cwd, 'client.pem'));
  const [upstream, port] = [await recorder(), await freePort()];
  const url = `http://127.0.0.1:${port}/crm/mcp`;
  const server = await credentialServer({ formats: { [url]: 'jwt' }, assertionKey: key, lifetime: LIFETIME });
  const proxy = await serve({
    issuer: server.issuer,
    port,
    servers: { crm: { upstream: upstream.url, policy } },
    env: { LD_PRELOAD: library, FAKETIME_TIMESTAMP_FILE: clock, FAKETIME_NO_CACHE: '1' },
  });
  const fresh = [];
  for (let at = 0; at < MINUTES * EACH; at += 1) fresh.push((await server.token(url)).answer.access_token);
  const known = (await server.token(url)).answer.access_token;
  const metrics = async () => (await fetch(`${proxy.admin}/metrics`)).text();
  const count = (text, line) => Number(text.split('\n').find((each) => each.startsWith(line))?.split(' ').at(-1) ?? 0);
  const failed = 'portcullis_jwks_refresh_total{issuer="interop",result="error"}';

  await check('before it, a token is good', async () => {
    assert.equal((await call(url, known)).status, 200);
  });

  await check(`${MINUTES} minutes without the server: ${MINUTES * (EACH + 1)} requests, known and first seen, each 200`, async () => {
    await server.close();
    for (let minute = 1; minute <= MINUTES; minute += 1) {
      moved(minute * 60);
      for (const token of [known, ...fresh.splice(0, EACH)]) {
        const { status, text } = await call(url, token);
        assert.equal(status, 200, `minute ${minute}: ${text}`);
      }
    }
    assert.equal(upstream.shown.length, MINUTES * (EACH + 1) + 1);
  }, 180_000);

  await check('the proxy did notice: it asked for keys and was not answered', async () => {
    await until('a failed fetch', async () => count(await metrics(), failed) > 0);
  });

  await check('the clock did move: the token that was good all along ends with its life', async () => {
    moved(LIFETIME + 120);
    const { status, challenge } = await call(url, known);
    assert.equal(status, 401);
    assert.match(challenge, /error="invalid_token"/);
  });

  await upstream.close();
});
