// Stands in front of a bridge and counts what it holds: sessions by the ids it gave out, streams that are open.
import http from 'node:http';

import { forward } from './forward.mjs';

/** Listens in front of `target`. */
export async function counted(target) {
  const to = new URL(target);
  const agent = new http.Agent({ keepAlive: true });
  const sessions = new Set();
  const streams = new Set();
  let deleted = 0;
  const server = http.createServer((request, response) => {
    if (request.method === 'DELETE') deleted += 1;
    const out = forward(to, agent, request.url, request, response, (answer) => {
      const session = answer.headers['mcp-session-id'];
      if (session) sessions.add(session);
      if (request.method === 'GET' && answer.statusCode === 200) {
        streams.add(response);
        response.on('close', () => streams.delete(response));
      }
    });
    request.pipe(out);
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  /** Whether the bridge still knows a session; asking uses it. */
  const knows = async (session) => {
    const headers = {
      accept: 'application/json, text/event-stream',
      'content-type': 'application/json',
      'mcp-protocol-version': '2025-06-18',
      'mcp-session-id': session,
    };
    const body = JSON.stringify({ jsonrpc: '2.0', id: 'counted', method: 'ping' });
    const answer = await fetch(target, { method: 'POST', headers, body, signal: AbortSignal.timeout(5_000) }).catch(() => undefined);
    await answer?.body?.cancel();
    return answer?.ok === true;
  };
  return {
    url: `http://127.0.0.1:${server.address().port}${to.pathname}`,
    streams: () => streams.size,
    deleted: () => deleted,
    opened: () => sessions.size,
    /** How many of the sessions it gave out the bridge still knows. */
    left: async () => (await Promise.all([...sessions].map(knows))).filter(Boolean).length,
    close: () => new Promise((resolve) => { server.close(resolve); server.closeAllConnections(); }),
  };
}
