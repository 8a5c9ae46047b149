// The TypeScript SDK's clients, v1 and v2, signing in as a user would: nothing is pasted.
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

import { signIn } from './login.mjs';
import { home } from './process.mjs';

const require = createRequire(`${home}/`);
const load = (name) => import(pathToFileURL(require.resolve(name)));

const v1 = {
  ...(await load('@modelcontextprotocol/sdk/client/index.js')),
  ...(await load('@modelcontextprotocol/sdk/client/streamableHttp.js')),
  ...(await load('@modelcontextprotocol/sdk/client/auth.js')),
  ...(await load('@modelcontextprotocol/sdk/types.js')),
};
const v2 = await load('@modelcontextprotocol/client');
export const sdk = { v1, v2 };

/** Everything an OAuth client must remember; `browser(url, user)` gives the URL the client is called back with. */
export class Memory {
  constructor(user, { browser = signIn, callback = 'http://127.0.0.1:33999/callback', client } = {}) {
    this.user = user;
    this.browser = browser;
    this.redirectUrl = callback;
    this.client = client;
    this.asked = [];
  }

  get clientMetadata() {
    return {
      client_name: 'interop',
      application_type: 'native',
      // Without a refresh token: with one, v1 answers a 403 by refreshing and not by asking the user.
      grant_types: ['authorization_code'],
      redirect_uris: [this.redirectUrl],
      response_types: ['code'],
      token_endpoint_auth_method: 'none',
    };
  }

  state() {
    return 'interop-state';
  }

  clientInformation() {
    return this.client;
  }

  saveClientInformation(client) {
    this.client = client;
  }

  tokens() {
    return this.saved;
  }

  saveTokens(tokens) {
    this.saved = tokens;
  }

  saveCodeVerifier(verifier) {
    this.verifier = verifier;
  }

  codeVerifier() {
    return this.verifier;
  }

  saveDiscoveryState(state) {
    this.discovered = state;
  }

  discoveryState() {
    return this.discovered;
  }

  redirectToAuthorization(url) {
    this.asked.push(new URL(url));
  }

  /** What the client is called back with, after the user signed in. */
  async callback() {
    const back = await this.browser(this.asked.at(-1), this.user);
    if (back.searchParams.get('state') !== 'interop-state') throw new Error(`state was not kept: ${back}`);
    return back.searchParams;
  }
}

/**
 * A connected client of `version` ('v1' or 'v2'). The server has to refuse first; then the user signs in. `call` runs a
 * tool and, when the server asks for more scopes and the client goes to the user, signs in again and repeats the call.
 */
export async function connect(version, url, user, { memory = new Memory(user), options = {}, prepare = () => {} } = {}) {
  const { Client, StreamableHTTPClientTransport, UnauthorizedError } = sdk[version];
  const seen = [];
  const watched = async (input, init) => {
    const response = await fetch(input, init);
    seen.push({ url: String(input?.url ?? input), method: init?.method ?? 'GET', status: response.status, headers: response.headers });
    return response;
  };
  const open = () => new StreamableHTTPClientTransport(new URL(url), { authProvider: memory, fetch: watched });
  const build = () => {
    const made = new Client({ name: `interop-${version}`, version: '1.0.0' }, { capabilities: {}, ...options });
    prepare(made);
    return made;
  };
  const finish = async (transport) => {
    const back = await memory.callback();
    await (version === 'v1' ? transport.finishAuth(back.get('code')) : transport.finishAuth(back));
  };
  let transport = open();
  let client = build();
  try {
    await client.connect(transport);
    throw new Error('the first request was not refused');
  } catch (error) {
    if (!(error instanceof UnauthorizedError)) throw error;
  }
  await finish(transport);
  transport = open();
  client = build();
  await client.connect(transport);
  const call = async (name, args = {}) => {
    try {
      return await client.callTool({ name, arguments: args });
    } catch (error) {
      if (!(error instanceof UnauthorizedError)) throw error;
      await finish(transport);
      return client.callTool({ name, arguments: args });
    }
  };
  return { call, client, memory, seen, transport, close: () => client.close() };
}

/** A client with a token in a header, as people paste it into a configuration: it cannot log in. */
export async function pasted(version, url, token, options = {}) {
  const { Client, StreamableHTTPClientTransport } = sdk[version];
  const requestInit = { headers: { authorization: `Bearer ${token}` } };
  const client = new Client({ name: `interop-${version}`, version: '1.0.0' }, { capabilities: {}, ...options });
  await client.connect(new StreamableHTTPClientTransport(new URL(url), { requestInit }));
  return client;
}

/** The text of a tool result. */
export const words = (result) => (result.content ?? []).map((block) => block.text ?? '').join('\n');
