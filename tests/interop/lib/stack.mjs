// oidc-provider in front, Portcullis in the middle, an upstream behind.
import { authorizationServer } from './authorization-server.mjs';
import { freePort } from './process.mjs';
import { serve } from './portcullis.mjs';

/**
 * Starts both for `servers` ({ name: { upstream, policy, scopes, extra } }). `scopes` are those the authorization server
 * knows for that resource.
 */
export async function stack(servers, { tls, alg, lifetime } = {}) {
  const port = await freePort();
  const origin = `${tls ? 'https' : 'http'}://127.0.0.1:${port}`;
  const resources = {};
  for (const [name, server] of Object.entries(servers)) resources[`${origin}/${name}/mcp`] = server.scopes;
  const issuer = await authorizationServer(resources, { alg, lifetime });
  const proxy = await serve({ issuer: issuer.issuer, servers, tls, port });
  return { issuer, proxy, urls: proxy.urls };
}
