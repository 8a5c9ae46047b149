// Two proxies that share a `redis-server` by TLS, as a user who may do no more than the README says: limits, proofs, revocations.
import fs from 'node:fs';
import path from 'node:path';

import { assert, suite, until } from '../lib/check.mjs';
import { credentialServer, dpopKey } from '../lib/credential-server.mjs';
import { binary, certificates, folder, serve } from '../lib/portcullis.mjs';
import { freePort, repository, run, start, stop } from '../lib/process.mjs';
import { call, recorder } from '../lib/recorder.mjs';

const PASSWORD = 'only-for-tests-0123456789';
const policy = `[[rule]]
id = "whoami"
tools = ["whoami"]
limit = { rate = "3/h", burst = 3, per = ["subject"] }
`;
const free = '[[rule]]\nid = "whoami"\ntools = ["whoami"]\n';

await suite('shared', async (check) => {
  const cwd = folder();
  const at = (name) => path.join(cwd, name);
  const text = JSON.stringify;
  const tls = await certificates();
  const [redisPort, port] = [await freePort(), await freePort()];

  // The commands of the README, and nothing else.
  const readme = fs.readFileSync(path.join(repository, 'README.md'), 'utf8');
  const commands = /The store's user needs `([^`]+)` on keys `([^`]+)`/.exec(readme);
  fs.writeFileSync(at('redis.conf'), [
    'port 0', `tls-port ${redisPort}`, 'bind 127.0.0.1', `tls-cert-file ${tls.cert}`, `tls-key-file ${tls.key}`,
    `tls-ca-cert-file ${tls.ca}`, 'tls-auth-clients no', 'save ""', `dir ${cwd}`,
    `user portcullis on >${PASSWORD} resetkeys ~${commands[2]} resetchannels -@all ${commands[1]}`,
    `user default on >${PASSWORD} ~* +@all`, '',
  ].join('\n'));
  const store = () => start('redis', 'redis-server', [at('redis.conf')], { ready: /Ready to accept connections/ });
  let redis = await store();
  const cli = async (...args) => {
    const all = ['--tls', '--cacert', tls.ca, '-p', String(redisPort), '-a', PASSWORD, '--no-auth-warning', ...args];
    const { code, stdout, stderr } = await run('redis-cli', 'redis-cli', all);
    assert.equal(code, 0, stderr);
    return stdout.trim();
  };

  fs.writeFileSync(at('url'), `rediss://portcullis:${PASSWORD}@127.0.0.1:${redisPort}/0`, { mode: 0o600 });
  fs.writeFileSync(at('k1'), '00112233445566778899aabbccddeeff'.repeat(2), { mode: 0o600 });
  const tables = [
    '[[sealing.keys]]', 'id = "k1"', `file = ${text(at('k1'))}`,
    '[state.redis]', `url = { file = ${text(at('url'))} }`, `ca_file = ${text(tls.ca)}`, 'timeout = "2s"', 'max_stale = "1h"',
  ];
  const upstream = await recorder();
  const publicUrl = `http://127.0.0.1:${port}`;
  const formats = { [`${publicUrl}/limited/mcp`]: 'jwt', [`${publicUrl}/bound/mcp`]: 'jwt' };
  const server = await credentialServer({ formats });
  const servers = {
    limited: { upstream: upstream.url, policy },
    bound: { upstream: upstream.url, policy: free, extra: ['dpop = {}'] },
  };
  const first = await serve({ issuer: server.issuer, servers, port, publicUrl, tables });
  const second = await serve({ issuer: server.issuer, servers, publicUrl, tables });
  const both = [first, second];
  const told = async (proxy) => (await fetch(`${proxy.admin}/readyz?verbose`)).text();

  await check('check connects, and says what is shared', async () => {
    const { code, stdout, stderr } = await run('check', binary, ['check', '-c', first.config]);
    assert.equal(code, 0, stderr);
    assert.match(stdout, /state +redis at 127\.0\.0\.1:\d+, connected: rate limits, used proofs and states, revocations are shared/);
    for (const proxy of both) assert.match(await told(proxy), /^state redis 127\.0\.0\.1:\d+: rate limits, .* shared \(0 revoked\)$/m);
  });

  await check('a rate is that of both together', async () => {
    const token = (await server.token(first.urls.limited)).answer.access_token;
    for (const proxy of [first, second, first]) assert.equal((await call(proxy.urls.limited, token)).status, 200);
    for (const proxy of both) assert.equal((await call(proxy.urls.limited, token)).status, 429);
    assert.equal(upstream.shown.splice(0).length, 3);
    const keys = (await cli('--scan', '--pattern', 'portcullis:rl:*')).split('\n');
    assert.equal(keys.length, 1, 'one counter');
    const left = Number(await cli('PTTL', keys[0]));
    assert.ok(left > 0 && left <= 3_600_000, `it expires: ${left}`);
  });

  const client = await dpopKey();
  const endpoint = `${server.issuer}/token`;
  const given = await server.token(first.urls.bound, { dpop: await client.proof('POST', endpoint) });
  const token = given.answer.access_token;
  const proof = () => client.proof('POST', first.urls.bound, { token });
  const show = (proxy, shown) => call(proxy.urls.bound, token, { scheme: 'DPoP', proof: shown });

  await check('a proof that one took is refused by the other', async () => {
    const one = await proof();
    assert.equal((await show(first, one)).status, 200);
    const again = await show(second, one);
    assert.ok(again.status === 401 && again.challenge.includes('invalid_dpop_proof'), 'a proof was good twice');
    assert.equal((await show(second, await proof())).status, 200);
    assert.equal(upstream.shown.splice(0).length, 2);
  });

  await check('what somebody revokes in the store is refused by both, until the key is gone', async () => {
    const { jti } = JSON.parse(Buffer.from(token.split('.')[1], 'base64url'));
    const key = `portcullis:rev:${server.issuer}:jti:${jti}`;
    assert.equal(await cli('SET', key, '1', 'EX', '3600'), 'OK');
    for (const proxy of both) {
      await until('the refusal', async () => (await show(proxy, await proof())).status === 401);
    }
    assert.equal(await cli('DEL', key), '1');
    for (const proxy of both) {
      await until('the admission', async () => (await show(proxy, await proof())).status === 200);
    }
    // One that expires is gone too.
    await cli('SET', key, '1', 'PX', '1500');
    for (const proxy of both) await until('the key', async () => (await told(proxy)).includes('(1 revoked)'));
    for (const proxy of both) {
      await until('the end of it', async () => (await show(proxy, await proof())).status === 200);
    }
    upstream.shown.splice(0);
  });

  await check('without the store each counts by itself, and no proof opens anything', async () => {
    await stop(redis);
    for (const proxy of both) await until('the outage', async () => (await told(proxy)).includes('not connected since'));
    const limited = (await server.token(first.urls.limited)).answer.access_token;
    for (const proxy of both) {
      // What the store said of this caller is still known.
      assert.equal((await call(proxy.urls.limited, limited)).status, 429);
      assert.equal((await show(proxy, await proof())).status, 503);
    }
    assert.equal(upstream.shown.splice(0).length, 0);
  });

  await check('it comes back, and is used again', async () => {
    redis = await store();
    for (const proxy of both) await until('the store', async () => !(await told(proxy)).includes('not connected'));
    const one = await proof();
    assert.equal((await show(second, one)).status, 200);
    assert.equal((await show(first, one)).status, 401);
    assert.equal(upstream.shown.splice(0).length, 1);
  });

  await server.close();
  await upstream.close();
});
