// HTTP+SSE of 2024-11-05 on both sides: servers that have nothing else behind the proxy, and clients that have nothing else in
// front of it.
import path from 'node:path';

import { assert, suite, until } from '../lib/check.mjs';
import { Memory, connect, pasted, sdk, words } from '../lib/client.mjs';
import { home, installed, repository, run, start } from '../lib/process.mjs';
import { sseServer } from '../lib/sse-server.mjs';
import { stack } from '../lib/stack.mjs';

const { SSEClientTransport } = await import(installed('@modelcontextprotocol/sdk/dist/esm/client/sse.js'));
const python = path.join(home, 'python/bin/python');
const programs = path.join(repository, 'tests/interop/programs');
const MAIL = 'erika@example.com';
const policy = `
[[rule]]
id = "use"
tools = ["echo", "confirm", "progress", "add", "customer", "count", "broken"]
scopes = ["sse:use"]

[[rule]]
id = "asks"
methods = ["elicitation/create"]

[[mask]]
id = "mail"
on = ["arguments", "result"]
entities = ["EMAIL_ADDRESS"]
`;
const modern = { versionNegotiation: { mode: { pin: '2026-07-28' } } };

/** A client of HTTP+SSE with a token in a header. */
async function older(url, token, options = { capabilities: {} }) {
  const headers = { authorization: `Bearer ${token}` };
  const transport = new SSEClientTransport(new URL(`${url}/sse`), { requestInit: { headers }, eventSourceInit: { fetch: (input, init) => fetch(input, { ...init, headers: { ...init.headers, ...headers, accept: 'text/event-stream' } }) } });
  const client = new sdk.v1.Client({ name: 'interop-sse', version: '1.0.0' }, options);
  return { client, transport, connected: client.connect(transport) };
}

const elicits = (client) => client.setRequestHandler(sdk.v1.ElicitRequestSchema, ({ params }) => ({ action: 'accept', content: { yes: params.message.includes('[EMAIL_ADDRESS]') } }));

await suite('sse', async (check) => {
  const server = await sseServer();
  const py = await start('python', python, [path.join(programs, 'server.py'), 'sse'], { ready: /^listening (\S+)/ });
  const { issuer, urls } = await stack({
    typescript: { upstream: server.url, policy, scopes: 'sse:use', extra: ['sse_path = "/typescript/mcp/sse"'] },
    python: { upstream: py.ready[1], policy, scopes: 'sse:use', extra: ['transport = "sse"', 'sse_path = "/python/mcp/sse"'] },
  });
  const token = {};
  for (const name of ['typescript', 'python']) token[name] = await issuer.token(urls[name], 'sse:use');

  for (const [version, options] of [['v1', { capabilities: { elicitation: {} } }], ['v2', modern]]) {
    await check(`a server of the TypeScript SDK: the client ${version} lists and calls, masked both ways`, async () => {
      const client = await pasted(version, urls.typescript, token.typescript, options);
      const names = (await client.listTools()).tools.map(({ name }) => name);
      assert.deepEqual(names.sort(), ['confirm', 'echo', 'progress']);
      const before = server.posted.length;
      assert.equal(words(await client.callTool({ name: 'echo', arguments: { message: `mail ${MAIL}` } })), 'Echo: mail [EMAIL_ADDRESS]');
      const call = server.posted.slice(before).find(({ message }) => message.method === 'tools/call');
      assert.equal(call.message.params.arguments.message, 'mail [EMAIL_ADDRESS]');
      assert.equal(call.headers.authorization, undefined);
      assert.equal(call.headers['mcp-session-id'], undefined);
      await client.transport?.terminateSession?.().catch(() => {});
      await client.close();
    });
  }
  await check('a server of the TypeScript SDK asks, reports progress and tells news', async () => {
    const client = await pasted('v1', urls.typescript, token.typescript, { capabilities: { elicitation: {} } });
    elicits(client);
    const news = new Promise((resolve) => client.setNotificationHandler(sdk.v1.ToolListChangedNotificationSchema, resolve));
    assert.match(words(await client.callTool({ name: 'confirm', arguments: { message: MAIL } })), /"yes":true/);
    const steps = [];
    await client.callTool({ name: 'progress', arguments: {} }, undefined, { onprogress: ({ progress }) => steps.push(progress) });
    assert.deepEqual(steps, [1, 2]);
    await news;
    const streams = server.open();
    await client.transport.terminateSession();
    await client.close();
    await until('its stream to end', () => server.open() === streams - 1);
  });
  await check('a server of the Python SDK: the clients v1 and v2 list and call', async () => {
    for (const [version, options] of [['v1', {}], ['v2', modern]]) {
      const client = await pasted(version, urls.python, token.python, options);
      assert.ok((await client.listTools()).tools.some(({ name }) => name === 'add'));
      assert.equal(words(await client.callTool({ name: 'add', arguments: { a: 2, b: 40 } })), '42');
      assert.match(words(await client.callTool({ name: 'customer', arguments: { name: 'Erika' } })), /\[EMAIL_ADDRESS\]/);
      await client.close();
    }
  });

  for (const name of ['typescript', 'python']) {
    await check(`a client of HTTP+SSE (TypeScript) at the ${name} server lists and calls`, async () => {
      const { client, connected } = await older(urls[name], token[name]);
      await connected;
      const tools = (await client.listTools()).tools.map((tool) => tool.name);
      assert.ok(!tools.includes('hidden') && tools.length > 2, tools.join());
      const [call, wanted] = name === 'python' ? [{ name: 'customer', arguments: { name: 'Erika' } }, /\[EMAIL_ADDRESS\]/] : [{ name: 'echo', arguments: { message: MAIL } }, /^Echo: \[EMAIL_ADDRESS\]$/];
      assert.match(words(await client.callTool(call)), wanted);
      await assert.rejects(client.callTool({ name: 'hidden', arguments: {} }), /Unknown tool/);
      await client.close();
    });
  }
  await check('a client of HTTP+SSE is asked, hears of progress and of news, and takes its stream with it', async () => {
    const { client, connected } = await older(urls.typescript, token.typescript, { capabilities: { elicitation: {} } });
    elicits(client);
    const news = new Promise((resolve) => client.setNotificationHandler(sdk.v1.ToolListChangedNotificationSchema, resolve));
    await connected;
    assert.match(words(await client.callTool({ name: 'confirm', arguments: { message: MAIL } })), /"yes":true/);
    const steps = [];
    await client.callTool({ name: 'progress', arguments: {} }, undefined, { onprogress: ({ progress }) => steps.push(progress) });
    assert.deepEqual(steps, [1, 2]);
    await news;
    const streams = server.open();
    await client.close();
    await until('the stream to its server to end', () => server.open() === streams - 1);
  });
  await check('a client of HTTP+SSE signs in', async () => {
    const memory = new Memory('ana');
    const open = () => new SSEClientTransport(new URL(`${urls.typescript}/sse`), { authProvider: memory });
    const build = () => new sdk.v1.Client({ name: 'interop-sse', version: '1.0.0' }, { capabilities: {} });
    const first = open();
    await assert.rejects(build().connect(first), /Unauthorized/);
    await first.finishAuth((await memory.callback()).get('code'));
    const client = build();
    await client.connect(open());
    assert.equal(words(await client.callTool({ name: 'echo', arguments: { message: 'signed in' } })), 'Echo: signed in');
    await client.close();
  });
  await check('the address one client posts to is nobody else\'s', async () => {
    const { client, transport, connected } = await older(urls.typescript, token.typescript);
    await connected;
    const max = await connect('v1', urls.typescript, 'max');
    const other = max.memory.tokens().access_token;
    await max.close();
    const before = server.posted.length;
    const response = await fetch(transport._endpoint, {
      method: 'POST',
      headers: { authorization: `Bearer ${other}`, 'content-type': 'application/json' },
      body: JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'echo', arguments: { message: 'stolen' } } }),
    });
    assert.equal(response.status, 404);
    assert.equal(server.posted.length, before);
    await client.close();
  });
  await check('a client of HTTP+SSE (Python) lists and calls', async () => {
    const { code, stdout, stderr } = await run('sse-client', python, [path.join(programs, 'sse_client.py'), `${urls.typescript}/sse`, token.typescript, JSON.stringify({ message: MAIL })]);
    assert.equal(code, 0, stderr);
    const told = JSON.parse(stdout);
    assert.deepEqual(told.tools.sort(), ['confirm', 'echo', 'progress']);
    assert.equal(told.text, 'Echo: [EMAIL_ADDRESS]');
  });
  await server.close();
});
