// A server built on the Python SDK, with a client of each era.
import path from 'node:path';

import { assert, suite } from '../lib/check.mjs';
import { connect, words } from '../lib/client.mjs';
import { home, repository, start } from '../lib/process.mjs';
import { stack } from '../lib/stack.mjs';

const policy = `
[policy]
name = "python"

[[rule]]
id = "use"
tools = ["add", "customer", "count", "broken"]
resources = ["note://*"]
prompts = ["summary"]
scopes = ["python:use"]

[[mask]]
id = "pii"
on = ["result"]
entities = ["EMAIL_ADDRESS"]
action = "redact"

[[mask]]
id = "cards"
on = ["result"]
entities = ["CREDIT_CARD"]
action = "mask"
keep_last = 4
`;

await suite('python-server', async (check) => {
  const program = path.join(repository, 'tests/interop/programs/server.py');
  const server = await start('python', path.join(home, 'python/bin/python'), [program], { ready: /^listening (\S+)/ });
  const { urls } = await stack({ python: { upstream: server.ready[1], policy, scopes: 'python:use' } });
  const eras = { initialize: {}, '2026-07-28': { versionNegotiation: { mode: { pin: '2026-07-28' } } } };
  for (const [era, options] of Object.entries(eras)) {
    const session = await check(`${era}: signs in and connects`, () => connect('v2', urls.python, 'max', { options }));
    if (!session) continue;
    const { call, client } = session;
    await check(`${era}: lists what rules allow`, async () => {
      const names = (await client.listTools()).tools.map(({ name }) => name);
      assert.deepEqual(names.sort(), ['add', 'broken', 'count', 'customer']);
    });
    await check(`${era}: calls, with structured content`, async () => {
      const result = await call('add', { a: 2, b: 40 });
      assert.equal(words(result), '42');
      assert.deepEqual(result.structuredContent, { result: 42 });
    });
    await check(`${era}: masks text and structured content alike`, async () => {
      const result = await call('customer', { name: 'Erika' });
      assert.equal(result.structuredContent.email, '[EMAIL_ADDRESS]');
      assert.equal(result.structuredContent.card, '************1111');
      assert.doesNotMatch(JSON.stringify(result), /erika@example\.com|4111 1111/);
    });
    await check(`${era}: reports progress`, async () => {
      const seen = [];
      const request = { name: 'count', arguments: { upto: 3 } };
      const result = await client.callTool(request, { onprogress: ({ progress }) => seen.push(progress) });
      assert.equal(words(result), 'counted to 3');
      assert.deepEqual(seen, [0, 1, 2]);
    });
    await check(`${era}: a tool's own error comes through`, async () => {
      const result = await call('broken');
      assert.equal(result.isError, true);
      assert.match(words(result), /broken/);
    });
    await check(`${era}: a tool no rule allows does not exist`, async () => {
      const answer = await call('hidden').catch((error) => error);
      assert.match(answer.message ?? words(answer), /Unknown tool/);
    });
    await check(`${era}: resources and prompts`, async () => {
      const { contents } = await client.readResource({ uri: 'note://today' });
      assert.equal(contents[0].text, 'Call [EMAIL_ADDRESS]');
      const { messages } = await client.getPrompt({ name: 'summary', arguments: { topic: 'gates' } });
      assert.match(JSON.stringify(messages), /Sum up gates/);
    });
    await check(`${era}: closes`, () => client.close());
  }
});
