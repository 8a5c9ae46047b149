// Two places to log in: the demo with its own issuer and CRM, and oidc-provider in front of the rmcp fixture.
import { fixture, policy, scopes } from './fixture.mjs';
import { demo } from './portcullis.mjs';
import { stack } from './stack.mjs';

/** Both, each with a call anybody may make and one that needs a scope more. */
export async function places() {
  const shown = await demo();
  const upstream = await fixture();
  const { issuer, urls } = await stack({ fixture: { upstream: upstream.url, policy, scopes } });
  return [
    {
      name: 'demo',
      url: shown.mcp_url,
      tls: shown.mcp_url_tls,
      ca: shown.ca_file,
      user: 'ana',
      read: { name: 'get_contact', arguments: { id: 'c-001' } },
      // The card keeps four digits, the address goes.
      shows: /\*{12}1111/,
      hides: /4111 1111 1111 1111|erika\.mustermann@example\.com/,
      write: { name: 'update_contact', arguments: { id: 'c-001', notes: 'Prefers to be called' } },
      wrote: /Prefers to be called/,
      needs: 'crm:write',
      base: ['crm:read'],
      wide: ['crm:read', 'crm:write'],
      tools: ['get_contact', 'update_contact'],
      token: () => shown.mint('ana'),
    },
    {
      name: 'oidc-provider',
      url: urls.fixture,
      user: 'max',
      read: { name: 'test_simple_text', arguments: {} },
      shows: /This is a simple text response for testing\./,
      hides: /\u0000/,
      write: { name: 'greet', arguments: { name: 'interop' } },
      wrote: /Hello, interop!/,
      needs: 'fixture:greet',
      base: ['fixture:use'],
      wide: ['fixture:greet', 'fixture:use'],
      tools: ['greet', 'test_simple_text'],
      token: () => issuer.token(urls.fixture, 'fixture:use'),
    },
  ];
}

export const sorted = (scope) => String(scope ?? '').split(' ').sort();
