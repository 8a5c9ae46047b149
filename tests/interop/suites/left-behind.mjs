// What a crowd leaves behind at a bridge when it goes without ending its sessions, as many clients do: counted without
// Portcullis, then with it, once nobody has used a session for `session_idle`.
import fs from 'node:fs';
import path from 'node:path';

import { assert, suite, until, within } from '../lib/check.mjs';
import { connect, pasted, sdk, words } from '../lib/client.mjs';
import { counted } from '../lib/counted.mjs';
import { folder } from '../lib/portcullis.mjs';
import { freePort, home, installed, start, stop } from '../lib/process.mjs';
import { stack } from '../lib/stack.mjs';

const policy = '[[rule]]\nid = "any"\ntools = ["*"]\nscopes = ["crowd:use"]\n';
const users = ['ana', 'max'];
const CLIENTS = 10;
const MS = 30_000;
const { SSEClientTransport } = await import(installed('@modelcontextprotocol/sdk/dist/esm/client/sse.js'));

/** A stdio server from npm, started through a link of its own by which the processes of one bridge are known. */
const place = fs.realpathSync(folder());
let links = 0;
function program() {
  links += 1;
  const link = path.join(place, `node-of-left-behind-${links}`);
  fs.symlinkSync(process.execPath, link);
  const command = [link, installed('@modelcontextprotocol/server-everything/dist/index.js'), 'stdio'];
  const lines = () => fs.readdirSync('/proc').filter((name) => /^\d+$/.test(name)).map((id) => {
    try {
      return fs.readFileSync(`/proc/${id}/cmdline`, 'utf8');
    } catch {
      return '';
    }
  });
  return { command, processes: () => lines().filter((line) => line.startsWith(`${link}\0`)).length };
}

const supergateway = (output, ...more) => ({
  path: output === 'sse' ? '/sse' : '/mcp',
  ready: /Listening on port/,
  command: (port, server) => [process.execPath, installed('supergateway/dist/index.js'), '--stdio', server.join(' '),
    '--outputTransport', output, '--port', String(port), ...more],
});
const bridges = {
  'supergateway --stateful': supergateway('streamableHttp', '--stateful'),
  'supergateway --stateful --sessionTimeout 2000': supergateway('streamableHttp', '--stateful', '--sessionTimeout', '2000'),
  'supergateway --outputTransport sse': supergateway('sse'),
  'mcp-proxy (npm)': {
    path: '/mcp',
    ready: /starting server on port/,
    command: (port, server) => [process.execPath, installed('mcp-proxy/dist/bin/mcp-proxy.mjs'), '--host', '127.0.0.1', '--port', String(port), '--', ...server],
  },
  'mcp-proxy (PyPI)': {
    path: '/mcp',
    ready: /Uvicorn running on/,
    command: (port, server) => [path.join(home, 'bridges/bin/mcp-proxy'), '--port', String(port), '--', ...server],
  },
};

let started = 0;
async function bridge(kind) {
  const { command: server, processes } = program();
  const port = await freePort();
  const [command, ...args] = kind.command(port, server);
  started += 1;
  const running = await start(`bridge-${started}`, command, args, { ready: kind.ready });
  const before = await counted(`http://127.0.0.1:${port}${kind.path}`);
  return { ...before, processes, end: async () => { await before.close(); await stop(running); } };
}

async function direct(kind, url) {
  const client = new sdk.v1.Client({ name: 'left-behind', version: '1.0.0' }, { capabilities: {} });
  await client.connect(kind.path === '/sse' ? new SSEClientTransport(new URL(url)) : new sdk.v1.StreamableHTTPClientTransport(new URL(url)));
  return client;
}

/** Clients that come at once, call once, and go; they end their sessions only if `polite`. Gives how many were answered. */
async function crowd(open, polite = false) {
  const one = async (at) => {
    const client = await within(MS, 'a connection', open(users[at % users.length]));
    const result = await within(MS, 'an answer', client.callTool({ name: 'echo', arguments: { message: `${at}` } }));
    if (polite) await client.transport.terminateSession();
    await client.close();
    return words(result) === `Echo: ${at}`;
  };
  const all = await Promise.allSettled(Array.from({ length: CLIENTS }, (_, at) => one(at)));
  return all.filter(({ value }) => value).length;
}

/** What is left, counted until it is nothing or has been watched for long enough. */
async function settled(what, ms) {
  await until('nothing is left', () => what() === 0, ms).catch(() => {});
  return what();
}

await suite('left-behind', async (check) => {
  for (const [name, kind] of Object.entries(bridges)) {
    const isSse = kind.path === '/sse';
    const bounded = name.includes('sessionTimeout');
    const without = await bridge(kind);
    const told = isSse ? undefined : await bridge(kind);
    const behind = await bridge(kind);
    const sse = isSse ? ['transport = "sse"', 'sessions = "shared"'] : [];
    const { proxy, urls } = await stack({ crowd: { upstream: behind.url, policy, scopes: 'crowd:use', extra: ['session_idle = "2s"', ...sse] } });
    const tokens = {};
    for (const user of users) {
      const session = await connect('v1', urls.crowd, user);
      tokens[user] = session.memory.tokens().access_token;
      await session.close();
    }
    await check(`${name}: a crowd comes and goes, without and with Portcullis`, async () => {
      const answered = await crowd(() => direct(kind, without.url));
      if (!isSse) assert.equal(answered, CLIENTS);
      assert.equal(await crowd((user) => pasted('v1', urls.crowd, tokens[user])), CLIENTS);
    }, 120_000);
    if (told) {
      await check(`${name}: what is left when every client ends its session is counted`, async () => {
        assert.equal(await crowd(() => direct(kind, told.url), true), CLIENTS);
        await settled(() => told.processes(), 5_000);
        console.log(`       told DELETE ${told.deleted()} times: ${await told.left()} sessions, ${told.processes()} processes left`);
        assert.equal(await told.left(), 0);
      }, 120_000);
    }
    await check(`${name}: with Portcullis nothing is left of it`, async () => {
      if (isSse) {
        await settled(() => behind.streams(), 20_000);
        console.log(`       ${behind.streams()} streams, ${behind.processes()} processes`);
        assert.deepEqual([behind.streams(), behind.processes()], [0, 1]);
        return;
      }
      await until('the bridge is told of every session', () => behind.deleted() >= behind.opened() || bounded && behind.processes() === 0, MS);
      if (name.startsWith('supergateway')) await until('its processes end', () => behind.processes() === 0, MS);
      console.log(`       ${behind.opened()} sessions opened, told DELETE ${behind.deleted()} times: ${await behind.left()} sessions, ${behind.processes()} processes left`);
      assert.equal(await behind.left(), 0);
    }, 90_000);
    await check(`${name}: without it, what is left is counted`, async () => {
      if (bounded) await until('its processes end', () => without.processes() === 0, MS);
      console.log(`       ${isSse ? `${without.streams()} streams` : `${await without.left()} sessions of ${without.opened()}`}, ${without.processes()} processes left`);
      if (name === 'supergateway --stateful') assert.equal(without.processes(), CLIENTS, 'the report is reproduced');
    }, 60_000);
    await stop(proxy.program, 10_000);
    for (const one of [without, told, behind]) await one?.end();
    await check(`${name}: when the bridge has ended no process runs`, async () => {
      for (const one of [without, told, behind]) if (one) await until('they end', () => one.processes() === 0, 10_000);
    });
  }
}, { limit: 600_000 });
