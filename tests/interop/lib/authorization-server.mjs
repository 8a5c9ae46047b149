// npm `oidc-provider` as the authorization server: discovery, dynamic registration, PKCE, resource indicators, JWT
// access tokens, and keys that can be rotated while it serves.
import { generateKeyPairSync, randomUUID } from 'node:crypto';
import http from 'node:http';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

import { home } from './process.mjs';

const require = createRequire(`${home}/`);
const { Provider } = await import(pathToFileURL(require.resolve('oidc-provider')));

/** Starts it for `resources` ({ url: 'scope scope' }); `users` may sign in. */
export async function authorizationServer(resources, { users = ['ana', 'max'], alg = 'RS256', lifetime = 600 } = {}) {
  const stored = new Map();
  let keys = [newKey(alg)];
  let handle;
  const server = http.createServer((request, response) => handle(request, response));
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const issuer = `http://127.0.0.1:${server.address().port}`;
  const build = () => {
    const provider = new Provider(issuer, configuration({ alg, keys, lifetime, resources, stored }));
    provider.on('server_error', (_, error) => console.log(`  note: authorization server: ${error.stack}`));
    const callback = provider.callback();
    handle = (request, response) => (request.url.startsWith('/interaction/')
      ? interact(provider, users, request, response).catch((error) => response.writeHead(500).end(String(error)))
      : callback(request, response));
  };
  build();
  return {
    issuer,
    /** A new key signs from now on; the last `kept` old ones are still published. */
    rotate(kept = 2) {
      keys = [newKey(alg), ...keys.slice(0, kept)];
      build();
      return keys[0].kid;
    },
    /** An access token for `resource`, by client credentials. */
    async token(resource, scope) {
      const body = new URLSearchParams({ grant_type: 'client_credentials', resource, ...(scope ? { scope } : {}) });
      const authorization = `Basic ${Buffer.from('load:only-for-tests-0123456789').toString('base64')}`;
      const response = await fetch(`${issuer}/token`, { method: 'POST', body, headers: { authorization } });
      const answer = await response.json();
      if (!answer.access_token) throw new Error(`token: ${JSON.stringify(answer)}`);
      return answer.access_token;
    },
    /** Resources that are known only later, when ports are. */
    add(more) {
      Object.assign(resources, more);
      build();
    },
    close: () => new Promise((resolve) => { server.close(resolve); server.closeAllConnections(); }),
  };
}

function newKey(alg) {
  const pair = alg.startsWith('ES')
    ? generateKeyPairSync('ec', { namedCurve: 'P-256' })
    : generateKeyPairSync('rsa', { modulusLength: 2048 });
  return { ...pair.privateKey.export({ format: 'jwk' }), alg, kid: randomUUID(), use: 'sig' };
}

function configuration({ alg, keys, lifetime, resources, stored }) {
  const scopes = [...new Set(Object.values(resources).flatMap((text) => text.split(' ')))];
  return {
    adapter: (model) => new Memory(stored, model),
    clients: [{
      client_id: 'load',
      client_secret: 'only-for-tests-0123456789',
      grant_types: ['client_credentials'],
      redirect_uris: [],
      response_types: [],
    }],
    clientDefaults: { id_token_signed_response_alg: alg },
    cookies: { keys: ['only for tests'] },
    // A client that registers with the scopes of its first login may ask for more later.
    extraClientMetadata: {
      properties: ['any_scope'],
      validator(_, __, ___, metadata) { metadata.scope = ['openid', 'offline_access', ...scopes].join(' '); },
    },
    features: {
      clientCredentials: { enabled: true },
      devInteractions: { enabled: false },
      registration: { enabled: true },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => Object.keys(resources)[0],
        getResourceServerInfo: (_, resource) => ({
          audience: resource,
          scope: resources[resource] ?? '',
          accessTokenFormat: 'jwt',
          accessTokenTTL: lifetime,
          jwt: { sign: { alg } },
        }),
        useGrantedResource: () => true,
      },
    },
    findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
    interactions: { url: (_, interaction) => `/interaction/${interaction.uid}` },
    jwks: { keys },
    responseTypes: ['code'],
    scopes: ['openid', 'offline_access', ...scopes],
    ttl: { AccessToken: lifetime, ClientCredentials: lifetime, Grant: 3600, Interaction: 600, RefreshToken: 3600, Session: 3600 },
  };
}

/** The login page: one button a user, who allows what the client asked for. */
async function interact(provider, users, request, response) {
  const { grantId, params, prompt, session } = await provider.interactionDetails(request, response);
  if (request.method !== 'POST') {
    const buttons = users.map((user) => `<button name="user" value="${user}">${user}</button>`).join('');
    response.writeHead(200, { 'content-type': 'text/html' }).end(`<form method="post">${buttons}</form>`);
    return;
  }
  let body = '';
  for await (const chunk of request) body += chunk;
  const accountId = session?.accountId ?? new URLSearchParams(body).get('user');
  const grant = (grantId && await provider.Grant.find(grantId)) || new provider.Grant({ accountId, clientId: params.client_id });
  const { missingOIDCScope, missingResourceScopes } = prompt.details;
  if (missingOIDCScope) grant.addOIDCScope(missingOIDCScope.join(' '));
  for (const [resource, missing] of Object.entries(missingResourceScopes ?? {})) {
    grant.addResourceScope(resource, missing.join(' '));
  }
  const consent = { grantId: await grant.save() };
  await provider.interactionFinished(request, response, { consent, login: { accountId } }, { mergeWithLastSubmission: false });
}

/** Storage that survives a change of keys, which builds a new provider. */
class Memory {
  constructor(stored, model) {
    this.stored = stored;
    this.model = model;
  }

  key(id) {
    return `${this.model}:${id}`;
  }

  async upsert(id, payload) {
    this.stored.set(this.key(id), payload);
    if (payload.uid) this.stored.set(`${this.model}:uid:${payload.uid}`, payload);
  }

  async find(id) {
    return this.stored.get(this.key(id));
  }

  async findByUid(uid) {
    return this.stored.get(`${this.model}:uid:${uid}`);
  }

  async findByUserCode() {
    return undefined;
  }

  async consume(id) {
    const payload = this.stored.get(this.key(id));
    if (payload) payload.consumed = Math.floor(Date.now() / 1000);
  }

  async destroy(id) {
    this.stored.delete(this.key(id));
  }

  async revokeByGrantId(grantId) {
    for (const [key, payload] of this.stored) if (payload.grantId === grantId) this.stored.delete(key);
  }
}
