// npm @modelcontextprotocol/server-everything, a server of the older revisions, under the policy shipped for it.
import fs from 'node:fs';
import path from 'node:path';

import { assert, suite } from '../lib/check.mjs';
import { connect, sdk, words } from '../lib/client.mjs';
import { freePort, installed, repository, start } from '../lib/process.mjs';
import { stack } from '../lib/stack.mjs';

const policy = fs.readFileSync(path.join(repository, 'policies/everything.toml'), 'utf8');
const capabilities = { elicitation: { form: {} }, roots: {}, sampling: {} };

/** A client that answers what servers ask. */
function answering(version) {
  const { v1 } = sdk;
  const handlers = {
    'elicitation/create': [v1.ElicitRequestSchema, async () => ({ action: 'accept', content: { name: 'Erika' } })],
    'roots/list': [v1.ListRootsRequestSchema, async () => ({ roots: [{ uri: 'file:///interop', name: 'interop' }] })],
    'sampling/createMessage': [v1.CreateMessageRequestSchema, async () => ({
      role: 'assistant', model: 'none', content: { type: 'text', text: 'a sampled answer' },
    })],
  };
  return (client) => {
    for (const [method, [schema, handler]] of Object.entries(handlers)) {
      client.setRequestHandler(version === 'v1' ? schema : method, handler);
    }
  };
}

await suite('everything', async (check) => {
  const port = await freePort();
  await start('everything', process.execPath, [installed('@modelcontextprotocol/server-everything/dist/index.js'), 'streamableHttp'], {
    env: { PORT: String(port) },
    ready: /listening on port/,
  });
  const { urls } = await stack({
    everything: { upstream: `http://127.0.0.1:${port}/mcp`, policy, scopes: 'everything:use' },
  });
  for (const [name, version, options] of [
    ['v1', 'v1', {}],
    ['v2', 'v2', {}],
    // A client that speaks nothing but the revision this server has never heard of.
    ['v2 of 2026-07-28', 'v2', { versionNegotiation: { mode: { pin: '2026-07-28' } } }],
  ]) {
    const session = await check(`${name}: signs in and connects`, () => connect(version, urls.everything, 'ana', {
      options: { capabilities, ...options },
      prepare: answering(version),
    }));
    if (!session) continue;
    const { call, client } = session;
    await check(`${name}: lists tools, without those a rule denies`, async () => {
      const names = (await client.listTools()).tools.map((tool) => tool.name);
      assert.ok(names.includes('echo') && names.includes('get-sum'), names.join());
      assert.ok(!names.includes('get-env') && !names.includes('gzip-file-as-resource'), names.join());
    });
    await check(`${name}: calls tools`, async () => {
      assert.match(words(await call('echo', { message: 'through the gate' })), /through the gate/);
      assert.match(words(await call('get-sum', { a: 2, b: 40 })), /42/);
      assert.equal((await call('get-structured-content', { location: 'New York' })).structuredContent.conditions.length > 0, true);
      assert.ok((await call('get-tiny-image')).content.some(({ type }) => type === 'image'));
    });
    await check(`${name}: a denied tool does not exist`, async () => {
      const answer = await call('get-env').catch((error) => error);
      assert.match(answer.message ?? words(answer), /Unknown tool|[Dd]enied/);
      assert.doesNotMatch(answer.message ?? words(answer), /PATH=/);
    });
    await check(`${name}: secrets in arguments do not arrive`, async () => {
      const secret = `ghp_${'0123456789abcdefghijABCDEFGHIJ012345'}`;
      assert.ok(!words(await call('echo', { message: `token ${secret}` })).includes(secret));
    });
    await check(`${name}: reports progress`, async () => {
      const seen = [];
      const request = { name: 'trigger-long-running-operation', arguments: { duration: 0.3, steps: 3 } };
      const told = { onprogress: ({ progress }) => seen.push(progress) };
      await (version === 'v1' ? client.callTool(request, undefined, told) : client.callTool(request, told));
      // The server asks for roots once it is initialized; a newer client is asked that inside of a call, and makes it again.
      assert.deepEqual(options.versionNegotiation ? [...new Set(seen)] : seen, [1, 2, 3]);
    });
    await check(`${name}: the server asks the client back`, async () => {
      const names = (await client.listTools()).tools.map((tool) => tool.name);
      assert.ok(names.includes('trigger-sampling-request'), names.join());
      assert.match(words(await call('trigger-sampling-request', { prompt: 'hello' })), /a sampled answer/);
      assert.match(words(await call('trigger-elicitation-request')), /Erika|accept/);
      assert.match(words(await call('get-roots-list')), /file:\/\/\/interop/);
    });
    await check(`${name}: resources, templates, prompts and completion`, async () => {
      const { resources } = await client.listResources();
      assert.ok(resources.length > 0);
      const { contents } = await client.readResource({ uri: resources[0].uri });
      assert.equal(contents[0].uri, resources[0].uri);
      assert.ok((await client.listResourceTemplates()).resourceTemplates.length > 0);
      const { prompts } = await client.listPrompts();
      assert.ok(prompts.some((prompt) => prompt.name === 'simple-prompt'), JSON.stringify(prompts));
      assert.ok((await client.getPrompt({ name: 'simple-prompt' })).messages.length > 0);
      const ref = { type: 'ref/prompt', name: 'completable-prompt' };
      const { completion } = await client.complete({ ref, argument: { name: 'department', value: 'E' } });
      assert.ok(completion.values.length > 0);
    });
    if (options.versionNegotiation) {
      await check(`${name}: closes, and there never was a session`, async () => {
        assert.equal(session.transport.sessionId, undefined);
        await client.close();
      });
      continue;
    }
    await check(`${name}: closes, and the session is over`, async () => {
      const { transport } = session;
      const id = transport.sessionId;
      assert.ok(id, 'there is no session');
      await transport.terminateSession();
      await client.close();
      const headers = {
        accept: 'application/json, text/event-stream',
        authorization: `Bearer ${session.memory.saved.access_token}`,
        'content-type': 'application/json',
        'mcp-protocol-version': '2025-11-25',
        'mcp-session-id': id,
      };
      const body = JSON.stringify({ jsonrpc: '2.0', id: 9, method: 'ping' });
      const response = await fetch(urls.everything, { method: 'POST', headers, body });
      // This server says 400 where the specification wants 404; either ends the session.
      assert.ok([400, 404].includes(response.status), `${response.status}`);
    });
  }
  await check('a session is worth nothing to another user', async () => {
    const ana = await connect('v2', urls.everything, 'ana');
    const max = await connect('v2', urls.everything, 'max');
    const headers = {
      accept: 'application/json, text/event-stream',
      authorization: `Bearer ${max.memory.saved.access_token}`,
      'content-type': 'application/json',
      'mcp-protocol-version': '2025-11-25',
      'mcp-session-id': ana.transport.sessionId,
    };
    const body = JSON.stringify({ jsonrpc: '2.0', id: 9, method: 'tools/list' });
    assert.equal((await fetch(urls.everything, { method: 'POST', headers, body })).status, 404);
    await Promise.all([ana.close(), max.close()]);
  });
});
