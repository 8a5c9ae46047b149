// A server of HTTP+SSE on the TypeScript SDK: a stream for each client, and what was posted kept.
import http from 'node:http';

import { installed } from './process.mjs';

const load = (name) => import(installed('@modelcontextprotocol/sdk/dist/esm', name));
const { Server } = await load('server/index.js');
const { SSEServerTransport } = await load('server/sse.js');
const { CallToolRequestSchema, ListToolsRequestSchema } = await load('types.js');

const schema = { type: 'object', properties: { message: { type: 'string' } } };
const tools = ['echo', 'confirm', 'progress', 'hidden'].map((name) => ({ name, inputSchema: schema }));

function server() {
  const made = new Server({ name: 'sse', version: '1.0.0' }, { capabilities: { tools: { listChanged: true }, logging: {} } });
  made.setRequestHandler(ListToolsRequestSchema, () => ({ tools }));
  made.setRequestHandler(CallToolRequestSchema, async ({ params }, extra) => {
    const message = params.arguments?.message ?? '';
    if (params.name === 'confirm') {
      const asked = await made.elicitInput({ message: `sure, ${message}?`, requestedSchema: { type: 'object', properties: { yes: { type: 'boolean' } } } });
      return { content: [{ type: 'text', text: JSON.stringify(asked) }] };
    }
    if (params.name === 'progress') {
      const progressToken = params._meta?.progressToken;
      for (const progress of [1, 2]) {
        await extra.sendNotification({ method: 'notifications/progress', params: { progressToken, progress, total: 2 } });
        // A client that reads progress and answer at once forgets whom to tell of the progress.
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
      await made.sendToolListChanged();
    }
    return { content: [{ type: 'text', text: `Echo: ${message}` }] };
  });
  return made;
}

/** Starts it. `posted` holds headers and message of everything posted, `open()` says how many streams there are. */
export async function sseServer() {
  const posted = [];
  const streams = new Map();
  const listener = http.createServer(async (request, response) => {
    const url = new URL(request.url, 'http://localhost');
    if (request.method === 'GET' && url.pathname === '/sse') {
      const transport = new SSEServerTransport('/messages', response);
      streams.set(transport.sessionId, transport);
      response.on('close', () => streams.delete(transport.sessionId));
      await server().connect(transport);
      return;
    }
    const transport = streams.get(url.searchParams.get('sessionId'));
    if (request.method !== 'POST' || url.pathname !== '/messages' || !transport) {
      response.writeHead(404).end('not found');
      return;
    }
    let body = '';
    for await (const chunk of request) body += chunk;
    posted.push({ headers: request.headers, message: JSON.parse(body) });
    await transport.handlePostMessage(request, response, JSON.parse(body));
  });
  await new Promise((resolve) => listener.listen(0, '127.0.0.1', resolve));
  return {
    posted,
    open: () => streams.size,
    url: `http://127.0.0.1:${listener.address().port}/sse`,
    close: () => new Promise((resolve) => { listener.close(resolve); listener.closeAllConnections(); }),
  };
}
