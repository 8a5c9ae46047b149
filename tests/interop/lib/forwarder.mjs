// Puts a token on every request, for clients that cannot: the conformance suite has no header option. Raw header names,
// their order, Host and Origin stay as they were sent, streams are not buffered, and a client that hangs up hangs up.
import fs from 'node:fs';
import http from 'node:http';
import https from 'node:https';

const HOP = new Set(['connection', 'keep-alive', 'transfer-encoding']);

/** Listens on `port` (0: any) and forwards to `target`; gives the origin to use and what passed without a token. */
export async function forwarder(target, token, { ca, port = 0 } = {}) {
  const to = new URL(target);
  const module = to.protocol === 'https:' ? https : http;
  const agent = new module.Agent({ keepAlive: true, ca: ca && fs.readFileSync(ca) });
  const server = http.createServer((request, response) => {
    const headers = pairs(request.rawHeaders).filter(([name]) => !['authorization', 'connection'].includes(name.toLowerCase()));
    headers.push(['Authorization', `Bearer ${token}`]);
    const out = module.request({
      host: to.hostname,
      port: to.port,
      method: request.method,
      path: request.url,
      headers: headers.map(([name, value]) => [name, rebased(name, value, request, to)]).flat(),
      agent,
      setHost: false,
      // No SNI: it would be taken from the Host the client claims. The certificate is checked against the target.
      servername: '',
    }, (answer) => {
      const kept = pairs(answer.rawHeaders).filter(([name]) => !HOP.has(name.toLowerCase()));
      response.writeHead(answer.statusCode, kept.flat());
      response.flushHeaders();
      answer.pipe(response);
      answer.on('error', () => response.destroy());
    });
    out.on('error', (error) => (response.headersSent ? response.destroy() : response.writeHead(502).end(String(error))));
    response.on('close', () => response.writableFinished || out.destroy());
    request.pipe(out);
  });
  await new Promise((resolve) => server.listen(port, '127.0.0.1', resolve));
  const origin = `http://127.0.0.1:${server.address().port}`;
  return { origin, close: () => new Promise((resolve) => { server.close(resolve); server.closeAllConnections(); }) };
}

/** This forwarder's own authority and origin become the target's; any other, above all a wrong one, stays. */
function rebased(name, value, request, to) {
  const own = `127.0.0.1:${request.socket.localPort}`;
  if (name.toLowerCase() === 'host' && value === own) return to.host;
  if (name.toLowerCase() === 'origin' && value === `http://${own}`) return to.origin;
  return value;
}

function pairs(raw) {
  const list = [];
  for (let index = 0; index < raw.length; index += 2) list.push([raw[index], raw[index + 1]]);
  return list;
}
