// A client that is a document at the URL that is its id (Client ID Metadata Documents), and so does not register.
import http from 'node:http';

import { assert, suite } from '../lib/check.mjs';
import { Memory, connect, words } from '../lib/client.mjs';
import { demo } from '../lib/portcullis.mjs';

await suite('client-document', async (check) => {
  const { clientMetadata } = new Memory('max');
  const server = http.createServer((_, response) => {
    const document = { ...clientMetadata, client_id: id, client_name: 'interop document' };
    response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(document));
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const id = `http://127.0.0.1:${server.address().port}/client.json`;
  const shown = await demo('--cimd');
  const session = await check('signs in with a document', async () => {
    const memory = new Memory('max', { client: { client_id: id, issuer: shown.issuer } });
    const made = await connect('v2', shown.mcp_url, 'max', { memory });
    assert.ok(!made.seen.some(({ url }) => url.endsWith('/register')), 'the client registered');
    assert.equal(memory.asked[0].searchParams.get('client_id'), id);
    return made;
  });
  await check('calls', async () => {
    assert.match(words(await session.call('get_contact', { id: 'c-001' })), /\*{12}1111/);
    await session.close();
  });
  server.close();
});
