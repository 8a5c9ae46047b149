// The report: a stdio server behind a bridge, and clients that come all at once. Counted without Portcullis, then with it: in
// front of the bridge, and instead of it.
import fs from 'node:fs';
import path from 'node:path';

import { assert, suite, until, within } from '../lib/check.mjs';
import { connect, pasted, sdk, words } from '../lib/client.mjs';
import { folder } from '../lib/portcullis.mjs';
import { freePort, home, installed, start, stop } from '../lib/process.mjs';
import { stack } from '../lib/stack.mjs';

const policy = '[[rule]]\nid = "any"\ntools = ["*"]\nscopes = ["crowd:use"]\n';
const users = ['ana', 'max'];
/** Simultaneous connections, and requests on them. */
const crowds = [[20, 22], [200, 220]];
const MS = 20_000;

/** A stdio server from npm, started through a link of this run by which its processes are known. */
const link = path.join(fs.realpathSync(folder()), 'node-of-crowd');
fs.symlinkSync(process.execPath, link);
const server = [link, installed('@modelcontextprotocol/server-everything/dist/index.js'), 'stdio'];

/** The processes that run the server now. */
function processes() {
  const ids = fs.readdirSync('/proc').filter((name) => /^\d+$/.test(name));
  return ids.filter((id) => {
    try {
      return fs.readFileSync(`/proc/${id}/cmdline`, 'utf8').startsWith(link);
    } catch {
      return false;
    }
  });
}

const { SSEClientTransport } = await import(installed('@modelcontextprotocol/sdk/dist/esm/client/sse.js'));
const transports = {
  sse: (url) => new SSEClientTransport(new URL(url)),
  streamable: (url) => new sdk.v1.StreamableHTTPClientTransport(new URL(url)),
};

async function direct(kind, url) {
  const client = new sdk.v1.Client({ name: 'crowd', version: '1.0.0' }, { capabilities: {} });
  await client.connect(transports[kind](url));
  return client;
}

/**
 * `connections` clients at once, `requests` calls over them. Each says who asks for what, and only an answer that says the
 * same is one. Gives what was right, what was somebody else's, what failed, and the slowest right one.
 */
async function crowd(connections, requests, open) {
  const outcome = { right: 0, foreign: 0, failed: 0, slowest: 0 };
  const clients = await Promise.all(
    Array.from({ length: connections }, (_, at) => within(MS, 'a connection', open(users[at % users.length])).catch(() => undefined)),
  );
  const call = async (number) => {
    const client = clients[number % connections];
    const message = `request ${number} of ${users[(number % connections) % users.length]}`;
    const began = performance.now();
    try {
      if (!client) throw new Error('not connected');
      const result = await within(MS, message, client.callTool({ name: 'echo', arguments: { message } }));
      if (words(result) !== `Echo: ${message}`) {
        outcome.foreign += 1;
        return;
      }
      outcome.right += 1;
      outcome.slowest = Math.max(outcome.slowest, Math.round(performance.now() - began));
    } catch {
      outcome.failed += 1;
    }
  };
  await Promise.all(Array.from({ length: requests }, (_, number) => call(number)));
  await Promise.all(clients.map((client) => client && within(2_000, 'an end', end(client)).catch(() => {})));
  return outcome;
}

/** Ends the session as the specification asks for, and the connection. */
async function end(client) {
  await client.transport?.terminateSession?.().catch(() => {});
  await client.close();
}

const show = ({ right, foreign, failed, slowest }) =>
  `${right} right, ${foreign} of somebody else, ${failed} failed; slowest ${slowest} ms`;

async function bridge(mode) {
  const port = await freePort();
  if (mode.startsWith('mcp-proxy')) return mcpProxy(mode, port);
  const output = mode === 'sse' ? 'sse' : 'streamableHttp';
  const args = ['--stdio', server.join(' '), '--outputTransport', output, '--port', String(port)];
  if (mode === 'stateful') args.push('--stateful', '--sessionTimeout', '60000');
  const program = await start(`bridge-${mode}`, process.execPath, [installed('supergateway/dist/index.js'), ...args], { ready: /Listening on port/ });
  return { program, url: `http://127.0.0.1:${port}/${mode === 'sse' ? 'sse' : 'mcp'}` };
}

/** The two bridges of the name `mcp-proxy`, from npm and from PyPI. */
async function mcpProxy(mode, port) {
  const npm = mode === 'mcp-proxy (npm)';
  const entry = npm ? [process.execPath, installed('mcp-proxy/dist/bin/mcp-proxy.mjs'), '--host', '127.0.0.1'] : [path.join(home, 'bridges/bin/mcp-proxy')];
  const [command, ...args] = [...entry, '--port', String(port), '--', ...server];
  const ready = npm ? /starting server on port/ : /Uvicorn running on/;
  return { program: await start(npm ? 'mcp-proxy-npm' : 'mcp-proxy-pypi', command, args, { ready }), url: `http://127.0.0.1:${port}/mcp` };
}

await suite('crowd', async (check) => {
  for (const mode of ['sse', 'stateful']) {
    for (const [connections, requests] of crowds) {
      // Two hundred processes of Node are more than this is about.
      if (mode !== 'sse' && connections > 20) continue;
      await check(`without: ${connections} connections to a bridge (${mode}) are counted`, async () => {
        const { program, url } = await bridge(mode);
        const counted = await crowd(connections, requests, () => direct(mode === 'sse' ? 'sse' : 'streamable', url));
        console.log(`       ${requests} requests: ${show(counted)}; ${processes().length} processes of the server`);
        await stop(program);
        assert.equal(counted.right + counted.foreign + counted.failed, requests);
        if (mode === 'sse') assert.ok(counted.foreign + counted.failed > requests / 2, 'the report is reproduced');
      }, 120_000);
    }
  }
  await check('what bridges leave behind is ended', async () => {
    for (const id of processes()) process.kill(Number(id), 'SIGKILL');
    await until('they are gone', () => processes().length === 0);
  });

  const command = `command = ${JSON.stringify(server)}`;
  const kinds = {
    'instead of a bridge, a process a caller': { lines: [command] },
    'instead of a bridge, one process for all': { lines: [command, 'sessions = "shared"'] },
    'in front of a bridge (stateless)': { mode: 'stateless', lines: ['[servers.crowd.concurrency]', 'max_in_flight = 4', 'queue = 1000', 'queue_timeout = "60s"'], small: true },
    'in front of a bridge (one process for all, everybody told everything)': { mode: 'sse', lines: ['transport = "sse"', 'sessions = "shared"'] },
    'in front of mcp-proxy (npm)': { mode: 'mcp-proxy (npm)', lines: [] },
    'in front of mcp-proxy (PyPI)': { mode: 'mcp-proxy (PyPI)', lines: [] },
  };
  for (const [name, { lines, mode, small }] of Object.entries(kinds)) {
    const bridged = mode && (await bridge(mode));
    const { proxy, urls } = await stack({ crowd: { upstream: bridged?.url, policy, scopes: 'crowd:use', extra: lines } });
    const tokens = {};
    await check(`${name}: two users sign in`, async () => {
      for (const user of users) {
        const session = await connect('v1', urls.crowd, user);
        tokens[user] = session.memory.tokens().access_token;
        await end(session.client);
      }
    });
    for (const [connections, requests] of crowds) {
      if (small && connections > 20) continue;
      await check(`${name}: ${requests} of ${requests} over ${connections} connections`, async () => {
        const counted = await crowd(connections, requests, (user) => pasted('v1', urls.crowd, tokens[user]));
        console.log(`       ${show(counted)}; ${processes().length} processes of the server`);
        assert.deepEqual([counted.right, counted.foreign, counted.failed], [requests, 0, 0]);
        assert.ok(counted.slowest < MS);
      }, 120_000);
    }
    await check(`${name}: no process is left behind`, async () => {
      await stop(proxy.program, 10_000);
      if (bridged) await stop(bridged.program);
      await until('they are gone', () => processes().length === 0);
    });
  }
}, { limit: 600_000 });
