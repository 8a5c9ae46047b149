// Leaves a server that speaks both eras only one of them: what belongs to the other is answered as a server answers that
// never heard of it. All else goes through as it is.
import http from 'node:http';

import { forward } from './forward.mjs';

const MODERN = '2026-07-28';

/** Listens in front of `target`, as a server of the older revisions or of the newer one. */
export async function oneEra(target, era) {
  const to = new URL(target);
  const agent = new http.Agent({ keepAlive: true });
  const seen = new Map();
  const server = http.createServer(async (request, response) => {
    const pieces = [];
    for await (const piece of request) pieces.push(piece);
    const body = Buffer.concat(pieces);
    const message = parsed(body);
    const method = message?.method ?? request.method;
    seen.set(method, (seen.get(method) ?? 0) + 1);
    const refusal = refused(era, request, message);
    if (refusal) {
      const [status, code, text] = refusal;
      response.writeHead(status, { 'Content-Type': 'application/json' });
      response.end(JSON.stringify({ jsonrpc: '2.0', id: message?.id ?? null, error: { code, message: text } }));
      return;
    }
    const out = forward(to, agent, to.pathname, request, response);
    out.end(body);
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${server.address().port}${to.pathname}`;
  return { url, seen, close: () => new Promise((resolve) => { server.close(resolve); server.closeAllConnections(); }) };
}

function refused(era, request, message) {
  const isModern = request.headers['mcp-protocol-version'] === MODERN;
  if (era === 'older') {
    if (isModern || message?.method === 'server/discover') return [400, -32000, 'Bad Request: Unsupported protocol version'];
    return undefined;
  }
  if (request.method !== 'POST') return [405, -32000, 'Method not allowed'];
  if (message?.method === 'initialize') return [404, -32601, 'Method not found'];
  return isModern ? undefined : [400, -32020, 'MCP-Protocol-Version is missing'];
}

function parsed(body) {
  try {
    return JSON.parse(body);
  } catch {
    return undefined;
  }
}
