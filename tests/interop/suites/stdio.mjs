// Servers of others over their standard input and output, which the proxy starts itself: one of Node, one of Python.
import fs from 'node:fs';
import path from 'node:path';

import { assert, refused, suite, until } from '../lib/check.mjs';
import { connect, pasted, words } from '../lib/client.mjs';
import { home, installed, repository, stop } from '../lib/process.mjs';
import { stack } from '../lib/stack.mjs';

const python = [path.join(home, 'python/bin/python'), path.join(repository, 'tests/interop/programs/stdio_server.py')];
const node = [process.execPath, installed('@modelcontextprotocol/server-everything/dist/index.js'), 'stdio'];

const policy = (name) => `
[policy]
name = "${name}"

[[rule]]
id = "use"
tools = ["**"]
resources = ["**"]
prompts = ["**"]
scopes = ["stdio:use"]

[[mask]]
id = "pii"
on = ["result"]
entities = ["EMAIL_ADDRESS"]
action = "redact"
`;

/** What a reader or writer by lines may trip over. */
const awkward = {
  'line breaks': 'one\ntwo\r\nthree\rfour',
  'the line breaks of Unicode': 'one\u2028two\u2029three\u0085four\u000bfive\u000csix',
  'quotes, escapes and NUL': '"\\" \\n \u0000 \u001b[31m {"jsonrpc":"2.0"}',
  'half a megabyte': 'äöü€😀'.repeat(30_000),
};

const eras = { initialize: {}, '2026-07-28': { versionNegotiation: { mode: { pin: '2026-07-28' } } } };

/** The processes whose command line has `part`. */
function processes(part) {
  return fs.readdirSync('/proc').filter((entry) => {
    if (!/^\d+$/.test(entry)) return false;
    try {
      const line = fs.readFileSync(`/proc/${entry}/cmdline`, 'utf8').split('\0');
      return line.includes(part) && !line.includes('child');
    } catch {
      return false;
    }
  });
}

await suite('stdio', async (check) => {
  const servers = {};
  for (const [name, command] of Object.entries({ node, python })) {
    const lines = [`command = ${JSON.stringify(command)}`, 'schema = "off"'];
    servers[name] = { policy: policy(name), scopes: 'stdio:use', extra: lines };
    servers[`${name}-shared`] = { policy: policy(name), scopes: 'stdio:use', extra: [...lines, 'sessions = "shared"'] };
  }
  const { proxy, urls } = await stack(servers);
  const output = () => proxy.program.lines.join('\n');
  const tokens = {};
  for (const name of Object.keys(servers)) {
    for (const user of ['ana', 'max']) {
      await check(`${name}: ${user} signs in, and the program is started`, async () => {
        const session = await connect('v2', urls[name], user);
        tokens[`${name} ${user}`] = session.memory.tokens().access_token;
        assert.ok((await session.client.listTools()).tools.some((tool) => tool.name === 'echo'));
        await session.close();
      });
    }
  }
  const open = (name, user = 'ana', options = {}) => pasted('v2', urls[name], tokens[`${name} ${user}`], options);
  const said = async (client, name, args = {}) => words(await client.callTool({ name, arguments: args }));

  for (const name of ['node', 'python']) {
    const echoed = (text) => (name === 'node' ? `Echo: ${text}` : text);
    for (const [era, options] of Object.entries(eras)) {
      const client = await check(`${name}, ${era}: connects`, () => open(name, 'ana', options));
      if (!client) continue;
      for (const [what, message] of Object.entries(awkward)) {
        await check(`${name}, ${era}: ${what} there and back`, async () => {
          assert.equal(await said(client, 'echo', { message }), echoed(message));
        });
      }
      await check(`${name}, ${era}: fifty calls at once, each its own answer`, async () => {
        const all = Array.from({ length: 50 }, (_, at) => `number ${at}`);
        const answers = await Promise.all(all.map((message) => said(client, 'echo', { message })));
        assert.deepEqual(answers, all.map(echoed));
      });
      await check(`${name}, ${era}: reports progress`, async () => {
        const seen = [];
        const request = name === 'node'
          ? { name: 'trigger-long-running-operation', arguments: { duration: 0.3, steps: 3 } }
          : { name: 'count', arguments: { upto: 3 } };
        await client.callTool(request, { onprogress: ({ progress }) => seen.push(progress) });
        assert.equal(seen.length, 3, seen.join());
      });
      // Each era may have a process of its own.
      const before = name === 'python' ? Number(await said(client, 'times_cancelled')) : 0;
      await check(`${name}, ${era}: a call is cancelled, and the next one is answered`, async () => {
        const request = name === 'node'
          ? { name: 'trigger-long-running-operation', arguments: { duration: 600, steps: 600 } }
          : { name: 'wait', arguments: {} };
        const aborted = new AbortController();
        const started = client.callTool(request, { signal: aborted.signal, onprogress: () => aborted.abort() });
        if (name === 'python') setTimeout(() => aborted.abort(), 300);
        await refused(() => started);
        assert.equal(await said(client, 'echo', { message: 'still here' }), echoed('still here'));
      });
      if (name === 'python') {
        await check(`${name}, ${era}: the server has heard of it`, () =>
          until('the cancellation', async () => Number(await said(client, 'times_cancelled')) > before));
      }
      await check(`${name}, ${era}: closes`, () => client.close());
    }
    await check(`${name}: two callers have two processes, or share one where they are to`, async () => {
      const ask = async (server, user) => {
        const client = await open(server, user);
        await said(client, 'echo', { message: user });
        return client;
      };
      const part = (name === 'node' ? node : python)[1];
      const before = processes(part).length;
      const clients = [await ask(name, 'ana'), await ask(name, 'max')];
      assert.ok(processes(part).length >= 2, `${processes(part).length} after ${before}`);
      await Promise.all(clients.map((client) => client.close()));
    });
  }

  // The SDK itself keeps what a tool prints from the messages.
  await check('python: what a tool prints harms no message', async () => {
    const client = await open('python');
    assert.equal(await said(client, 'babble'), 'babbled');
    assert.equal(await said(client, 'echo', { message: 'after it' }), 'after it');
    await until('the line', () => /loading model/.test(output()));
    await client.close();
  });
  await check('python: standard error is in the log, without addresses', async () => {
    const client = await open('python');
    await said(client, 'complain');
    await until('the line', () => /complaint of /.test(output()));
    assert.doesNotMatch(output(), /erika@example\.com/);
    await client.close();
  });
  await check('node: standard error is in the log', () => until('the line', () => /Starting default \(STDIO\) server/.test(output())));

  await check('python: a crash fails the call, and the next client finds another process', async () => {
    const client = await open('python');
    const first = await said(client, 'process');
    const error = await refused(() => client.callTool({ name: 'crash', arguments: {} }));
    assert.match(`${error.message} ${error.status ?? ''} ${error.code ?? ''}`, /502|broke off/);
    await client.close().catch(() => {});
    const again = await open('python');
    assert.notEqual(await said(again, 'process'), first);
    await again.close();
  });
  await check('python: where all share a process, a session outlives its crash', async () => {
    const [ana, max] = [await open('python-shared', 'ana'), await open('python-shared', 'max')];
    const first = await said(ana, 'process');
    assert.equal(await said(max, 'process'), first);
    await refused(() => ana.callTool({ name: 'crash', arguments: {} }));
    assert.notEqual(await said(ana, 'process'), first);
    assert.equal(await said(max, 'process'), await said(ana, 'process'));
    await Promise.all([ana.close(), max.close()]);
  });
  await check('node: a killed process is started again in the same session', async () => {
    const [ana, max] = [await open('node-shared', 'ana'), await open('node-shared', 'max')];
    assert.equal(await said(ana, 'echo', { message: 'a' }), 'Echo: a');
    assert.equal(await said(max, 'echo', { message: 'b' }), 'Echo: b');
    for (const id of processes(node[1])) process.kill(Number(id), 'SIGKILL');
    const answered = async () => (await said(ana, 'echo', { message: 'c' })) === 'Echo: c';
    await until('the next process', answered);
    assert.equal(await said(max, 'echo', { message: 'd' }), 'Echo: d');
    await Promise.all([ana.close(), max.close()]);
  });
  await check('no process is left behind', async () => {
    await stop(proxy.program, 15_000);
    await until('they are gone', () => processes(node[1]).length + processes(python[1]).length === 0);
  });
});
