// Hands a request on and its answer back, as they are, as soon as they come.
import http from 'node:http';

/**
 * The request to `path` at `to` that stands for `request`, without its body; what is answered goes to `response`, and `seen`
 * is told of its head.
 */
export function forward(to, agent, path, request, response, seen = () => {}) {
  const headers = { ...request.headers, host: to.host };
  const out = http.request({ host: to.hostname, port: to.port, path, method: request.method, headers, agent }, (answer) => {
    seen(answer);
    response.writeHead(answer.statusCode, answer.headers);
    response.flushHeaders();
    answer.pipe(response);
    answer.on('error', () => response.destroy());
  });
  out.on('error', () => (response.headersSent ? response.destroy() : response.writeHead(502).end()));
  response.on('close', () => response.writableFinished || out.destroy());
  return out;
}
