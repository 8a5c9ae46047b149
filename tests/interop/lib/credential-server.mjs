// npm `oidc-provider` as the server the proxy itself is a client of: client credentials by secret, by signed assertion and
// by certificate, token exchange by a grant of our own, introspection, revocation, and DPoP.
import { generateKeyPairSync, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import fs from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import { createRequire } from 'node:module';
import { text } from 'node:stream/consumers';
import { pathToFileURL } from 'node:url';

import { home } from './process.mjs';

const require = createRequire(`${home}/`);
const { Provider, errors } = await import(pathToFileURL(require.resolve('oidc-provider')));

export const EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange';
export const SECRET = 'only-for-tests-0123456789-0123456789';

/**
 * Starts it. `formats` says what tokens for a resource look like ({ url: 'jwt' | 'opaque' }); `assertionKey` is the public
 * JWK of the client that signs; with `tls` ({ cert, key, ca }) it speaks https and asks for certificates.
 */
export async function credentialServer({ formats, assertionKey, tls, lifetime = 600 }) {
  let handle;
  const listener = (request, response) => handle(request, response);
  const server = tls
    ? https.createServer({
      cert: fs.readFileSync(tls.cert), key: fs.readFileSync(tls.key), ca: fs.readFileSync(tls.ca),
      requestCert: true, rejectUnauthorized: false,
    }, listener)
    : http.createServer(listener);
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const issuer = `${tls ? 'https' : 'http'}://127.0.0.1:${server.address().port}`;
  const pair = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const key = { ...pair.privateKey.export({ format: 'jwk' }), alg: 'ES256', kid: randomUUID(), use: 'sig' };
  const provider = new Provider(issuer, configuration({ formats, assertionKey, key, lifetime, tls }));
  const asked = [];
  provider.on('server_error', (_, error) => console.log(`  note: credential server: ${error.stack}`));
  provider.registerGrantType(EXCHANGE, (context) => exchange(provider, formats, asked, context), [
    'audience', 'resource', 'scope', 'requested_token_type', 'subject_token', 'subject_token_type', 'actor_token', 'actor_token_type',
  ], []);
  handle = provider.callback();
  const ca = tls && fs.readFileSync(tls.ca);
  const form = async (path, fields, headers = {}) => {
    const authorization = `Basic ${Buffer.from(`caller:${SECRET}`).toString('base64')}`;
    const type = 'application/x-www-form-urlencoded';
    const request = (tls ? https : http).request(`${issuer}${path}`, { method: 'POST', ca, headers: { authorization, 'content-type': type, ...headers } });
    request.end(new URLSearchParams(fields).toString());
    const [response] = await once(request, 'response');
    const body = await text(response);
    return { status: response.statusCode, answer: body ? JSON.parse(body) : {} };
  };
  return {
    issuer,
    /** The forms of exchanges, as they came. */
    asked,
    /** What the token endpoint gives a client of the tests. */
    token: (resource, headers) => form('/token', { grant_type: 'client_credentials', resource }, headers),
    introspect: async (token) => (await form('/token/introspection', { token })).answer,
    revoke: (token) => form('/token/revocation', { token }),
    close: () => new Promise((resolve) => { server.close(resolve); server.closeAllConnections(); }),
  };
}

function configuration({ formats, assertionKey, key, lifetime, tls }) {
  const client = (client_id, more) => ({
    client_id, grant_types: ['client_credentials', EXCHANGE], redirect_uris: [], response_types: [], ...more,
  });
  const secret = { client_secret: SECRET };
  return {
    clients: [
      client('caller', secret),
      client('basic', { ...secret, token_endpoint_auth_method: 'client_secret_basic' }),
      client('post', { ...secret, token_endpoint_auth_method: 'client_secret_post' }),
      client('signed', {
        token_endpoint_auth_method: 'private_key_jwt', token_endpoint_auth_signing_alg: 'ES256', jwks: { keys: [assertionKey] },
      }),
      ...(tls ? [client('certified', { token_endpoint_auth_method: 'tls_client_auth', tls_client_auth_san_dns: 'localhost' })] : []),
    ],
    clientAuthMethods: ['client_secret_basic', 'client_secret_post', 'private_key_jwt', ...(tls ? ['tls_client_auth'] : []), 'none'],
    clientDefaults: { id_token_signed_response_alg: 'ES256' },
    cookies: { keys: ['only for tests'] },
    features: {
      clientCredentials: { enabled: true },
      devInteractions: { enabled: false },
      dPoP: { enabled: true },
      introspection: { enabled: true, allowedPolicy: () => true },
      revocation: { enabled: true, allowedPolicy: () => true },
      ...(tls ? {
        mTLS: {
          enabled: true,
          tlsClientAuth: true,
          certificateAuthorized: (context) => context.socket.authorized,
          certificateSubjectMatches: (context, property, expected) => property === 'tls_client_auth_san_dns'
            && (context.socket.getPeerX509Certificate()?.subjectAltName ?? '').includes(`DNS:${expected}`),
          getCertificate: (context) => context.socket.getPeerX509Certificate(),
        },
      } : {}),
      resourceIndicators: {
        enabled: true,
        defaultResource: () => Object.keys(formats)[0],
        getResourceServerInfo: (_, resource) => {
          if (!formats[resource]) throw new errors.InvalidTarget();
          return {
            audience: resource, scope: 'use', accessTokenFormat: formats[resource], accessTokenTTL: lifetime, jwt: { sign: { alg: 'ES256' } },
          };
        },
        useGrantedResource: () => true,
      },
    },
    jwks: { keys: [key] },
    responseTypes: ['code'],
    scopes: ['use'],
    ttl: { AccessToken: lifetime, ClientCredentials: lifetime },
  };
}

/** RFC 8693 as far as a resource server's tokens go: ours is a JWT of this server, what comes back is for `resource`. */
async function exchange(provider, formats, asked, context) {
  const { params, client } = context.oidc;
  asked.push({ ...params, client: client.clientId });
  const claims = JSON.parse(Buffer.from(String(params.subject_token).split('.')[1] ?? '', 'base64url').toString() || '{}');
  if (claims.iss !== provider.issuer || claims.exp * 1000 < Date.now()) throw new errors.InvalidGrant('subject_token is not ours');
  if (!formats[params.resource]) throw new errors.InvalidTarget();
  const token = new provider.ClientCredentials({ client, scope: params.scope });
  token.resourceServer = new provider.ResourceServer(params.resource, {
    audience: params.resource, scope: 'use', accessTokenFormat: formats[params.resource], accessTokenTTL: 300, jwt: { sign: { alg: 'ES256' } },
  });
  context.body = {
    access_token: await token.save(),
    expires_in: 300,
    issued_token_type: 'urn:ietf:params:oauth:token-type:access_token',
    token_type: 'Bearer',
    scope: 'use',
  };
}

/** A new P-256 key: PEM for the proxy, JWK for its server. */
export function assertionKey(file) {
  const pair = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  fs.writeFileSync(file, pair.privateKey.export({ format: 'pem', type: 'pkcs8' }), { mode: 0o600 });
  return { ...pair.publicKey.export({ format: 'jwk' }), alg: 'ES256', kid: 'k1', use: 'sig' };
}

/** A client's key for DPoP, with the proofs it makes. */
export async function dpopKey() {
  const { subtle } = globalThis.crypto;
  const pair = await subtle.generateKey({ name: 'ECDSA', namedCurve: 'P-256' }, true, ['sign', 'verify']);
  const { kty, crv, x, y } = await subtle.exportKey('jwk', pair.publicKey);
  const encoded = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
  return {
    async proof(method, url, { token, nonce, at = Date.now() } = {}) {
      const hash = token && Buffer.from(await subtle.digest('SHA-256', Buffer.from(token))).toString('base64url');
      const claims = { jti: randomUUID(), htm: method, htu: url, iat: Math.floor(at / 1000), ...(hash ? { ath: hash } : {}), ...(nonce ? { nonce } : {}) };
      const signed = `${encoded({ typ: 'dpop+jwt', alg: 'ES256', jwk: { kty, crv, x, y } })}.${encoded(claims)}`;
      const signature = await subtle.sign({ name: 'ECDSA', hash: 'SHA-256' }, pair.privateKey, Buffer.from(signed));
      return `${signed}.${Buffer.from(signature).toString('base64url')}`;
    },
  };
}

