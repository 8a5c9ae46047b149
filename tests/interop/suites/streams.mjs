// What only the wire shows: an event arrives before the next one is sent, and a client that hangs up is missed at once.
import http from 'node:http';

import { assert, suite, within } from '../lib/check.mjs';
import { stack } from '../lib/stack.mjs';

const VERSION = '2026-07-28';
const policy = `
[policy]
name = "streams"

[[rule]]
id = "streams"
tools = ["two_events", "endless"]
scopes = ["streams:use"]

[[mask]]
id = "mail"
on = ["result"]
entities = ["EMAIL_ADDRESS"]
action = "redact"
`;
const TOOLS = ['two_events', 'endless'].map((name) => ({ name, description: name, inputSchema: { type: 'object' } }));

/** A server whose streams wait for the suite: `release()` lets the second event go, `gone` is a hang-up seen. */
async function upstream() {
  const state = {};
  state.released = new Promise((resolve) => { state.release = resolve; });
  state.gone = new Promise((resolve) => { state.left = resolve; });
  const server = http.createServer(async (request, response) => {
    let text = '';
    for await (const chunk of request) text += chunk;
    const { id, method, params } = JSON.parse(text || '{}');
    const send = (message) => response.write(`data: ${JSON.stringify({ jsonrpc: '2.0', ...message })}\n\n`);
    if (method !== 'tools/call') {
      const cache = { ttlMs: 0, cacheScope: 'private', resultType: 'complete' };
      const capabilities = { tools: {} };
      const result = method === 'tools/list' ? { tools: TOOLS, ...cache } : { supportedVersions: [VERSION], capabilities, ...cache };
      response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify({ jsonrpc: '2.0', id, result }));
      return;
    }
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    const token = params._meta.progressToken;
    send({ method: 'notifications/progress', params: { progressToken: token, progress: 1, message: 'first erika@example.com' } });
    if (params.name === 'endless') {
      response.on('close', state.left);
      return;
    }
    await state.released;
    send({ id, result: { content: [{ type: 'text', text: 'second' }], resultType: 'complete' } });
    response.end();
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  return { ...state, url: `http://127.0.0.1:${server.address().port}/mcp`, server };
}

function call(name, token) {
  const meta = {
    progressToken: 7,
    'io.modelcontextprotocol/protocolVersion': VERSION,
    'io.modelcontextprotocol/clientCapabilities': {},
  };
  return {
    method: 'POST',
    headers: {
      accept: 'application/json, text/event-stream',
      authorization: `Bearer ${token}`,
      'content-type': 'application/json',
      'mcp-method': 'tools/call',
      'mcp-name': name,
      'mcp-protocol-version': VERSION,
    },
    body: JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name, arguments: {}, _meta: meta } }),
  };
}

await suite('streams', async (check) => {
  const server = await upstream();
  const { issuer, urls } = await stack({ streams: { upstream: server.url, policy, scopes: 'streams:use' } });
  const token = await issuer.token(urls.streams, 'streams:use');
  await check('the first event is there before the second is sent', async () => {
    const response = await fetch(urls.streams, call('two_events', token));
    assert.equal(response.status, 200);
    assert.match(response.headers.get('content-type'), /^text\/event-stream/);
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let text = '';
    while (!text.includes('first')) text += (await reader.read()).value;
    assert.doesNotMatch(text, /second|erika@/);
    server.release();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      text += value;
    }
    assert.match(text, /second/);
  });
  await check('the upstream sees its connection close when the client hangs up', async () => {
    const hangUp = new AbortController();
    const response = await fetch(urls.streams, { ...call('endless', token), signal: hangUp.signal });
    const reader = response.body.getReader();
    await reader.read();
    hangUp.abort();
    await within(3_000, 'the hang-up', server.gone);
  });
  server.server.closeAllConnections();
});
