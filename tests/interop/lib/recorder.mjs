// An upstream that answers every call and keeps what it was shown.
import http from 'node:http';

/** Starts it; `shown` holds the `authorization` of each call, and `refuse(token)` may say that one is no good. */
export async function recorder(refuse = () => false) {
  const shown = [];
  const server = http.createServer(async (request, response) => {
    let body = '';
    for await (const chunk of request) body += chunk;
    const message = JSON.parse(body || '{}');
    const { authorization } = request.headers;
    if (message.method === 'tools/call') shown.push(authorization);
    if (refuse(authorization)) {
      response.writeHead(401).end();
      return;
    }
    const tool = { name: 'whoami', inputSchema: { type: 'object' }, annotations: { readOnlyHint: true } };
    const result = message.method === 'tools/list'
      ? { tools: [tool], ttlMs: 60_000 }
      : { content: [{ type: 'text', text: 'done' }] };
    response.writeHead(200, { 'content-type': 'application/json' });
    response.end(JSON.stringify({ jsonrpc: '2.0', id: message.id, result }));
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    shown,
    url: `http://127.0.0.1:${server.address().port}/mcp`,
    close: () => new Promise((resolve) => { server.close(resolve); server.closeAllConnections(); }),
  };
}

/** A policy under which the tool of the recorder may be called. */
export const policy = '[[rule]]\nid = "whoami"\ntools = ["whoami"]\n';

/** One `tools/call` of 2026-07-28: status, challenge and message. */
export async function call(url, token, { scheme = 'Bearer', proof } = {}) {
  const response = await fetch(url, {
    method: 'POST',
    headers: {
      accept: 'application/json, text/event-stream',
      authorization: `${scheme} ${token}`,
      'content-type': 'application/json',
      'mcp-method': 'tools/call',
      'mcp-name': 'whoami',
      'mcp-protocol-version': '2026-07-28',
      ...(proof ? { dpop: proof } : {}),
    },
    body: JSON.stringify({
      jsonrpc: '2.0',
      id: 1,
      method: 'tools/call',
      params: {
        name: 'whoami',
        arguments: {},
        _meta: {
          'io.modelcontextprotocol/protocolVersion': '2026-07-28',
          'io.modelcontextprotocol/clientCapabilities': {},
        },
      },
    }),
  });
  const text = await response.text();
  return { status: response.status, challenge: response.headers.get('www-authenticate'), text };
}
