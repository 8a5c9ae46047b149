// Tasks of npm @modelcontextprotocol/server-everything, which speaks 2025-11-25, for clients of 2026-07-28: one that follows
// them with the official package for the extension, and one that knows nothing of tasks.
import fs from 'node:fs';
import path from 'node:path';

import { assert, suite, until } from '../lib/check.mjs';
import { connect, pasted, words } from '../lib/client.mjs';
import { freePort, installed, repository, start } from '../lib/process.mjs';
import { stack } from '../lib/stack.mjs';

const { createTaskSessionFromClient } = await import(installed('@modelcontextprotocol/ext-tasks/dist/client/index.js'));

const policy = fs.readFileSync(path.join(repository, 'policies/everything.toml'), 'utf8');
const protocolVersion = '2026-07-28';
const clientInfo = { name: 'interop-tasks', version: '1.0.0' };
const capabilities = { elicitation: { form: {} } };
const pin = { versionNegotiation: { mode: { pin: protocolVersion } } };
const answer = { action: 'accept', content: { interpretation: 'technical' } };
const tool = 'simulate-research-query';

/** One request over HTTP as the extension frames it: the answer as the package wants it, and all requests in `sent`. */
function dispatch(url, token, sent = []) {
  let id = 0;
  return async (request) => {
    const { method, params } = request;
    sent.push(request);
    id += 1;
    const named = method === 'tools/call' ? params.name : params.taskId;
    const headers = {
      accept: 'application/json, text/event-stream',
      authorization: `Bearer ${token}`,
      'content-type': 'application/json',
      'mcp-method': method,
      'mcp-name': named,
      'mcp-protocol-version': protocolVersion,
    };
    const response = await fetch(url, { method: 'POST', headers, body: JSON.stringify({ jsonrpc: '2.0', id, ...request }) });
    const text = await response.text();
    const events = text.split('\n').filter((line) => line.startsWith('data: ')).map((line) => JSON.parse(line.slice(6)));
    const message = response.headers.get('content-type').startsWith('text/event-stream') ? events.at(-1) : JSON.parse(text);
    return message.error ? { kind: 'error', error: message.error } : { kind: 'result', result: message.result };
  };
}

await suite('tasks', async (check) => {
  const port = await freePort();
  await start('everything', process.execPath, [installed('@modelcontextprotocol/server-everything/dist/index.js'), 'streamableHttp'], {
    env: { PORT: String(port) },
    ready: /listening on port/,
  });
  const scopes = 'everything:use';
  const { urls } = await stack({ everything: { upstream: `http://127.0.0.1:${port}/mcp`, policy, scopes } });
  const url = urls.everything;
  const tokens = {};
  for (const user of ['ana', 'max']) {
    const signedIn = await connect('v1', url, user);
    tokens[user] = signedIn.memory.tokens().access_token;
    await signedIn.close();
  }
  const follows = { ...capabilities, extensions: { 'io.modelcontextprotocol/tasks': {} } };
  const framing = { protocolVersion, clientInfo, clientCapabilities: follows };
  const sent = [];
  const raw = dispatch(url, tokens.ana, sent);

  const client = await pasted('v2', url, tokens.ana, { capabilities: follows, ...pin });
  const asked = [];
  const onInputRequest = async (request) => {
    asked.push(request);
    return answer;
  };
  const session = createTaskSessionFromClient(client, { endpointId: 'tasks', rawDispatch: raw, v2RequestFraming: framing, onInputRequest });

  await check('the extension is told of', () => {
    assert.deepEqual(client.getServerCapabilities().extensions?.['io.modelcontextprotocol/tasks'], {});
  });
  await check('the official package follows a task to its result', async () => {
    const execution = await session.callTool(tool, { topic: 'gates' });
    assert.equal(execution.kind, 'task');
    const { outcome } = await execution.settle();
    assert.equal(outcome.status, 'completed', JSON.stringify(outcome));
    assert.match(words(outcome.result), /Research Report: gates/);
    assert.ok(sent.filter(({ method }) => method === 'tasks/get').length > 1);
  });
  await check('what a task asks is asked of the client, and its answer counts', async () => {
    const execution = await session.callTool(tool, { topic: 'python', ambiguous: true });
    const { outcome } = await execution.settle();
    assert.equal(outcome.status, 'completed', JSON.stringify(outcome));
    assert.match(words(outcome.result), /Clarification\*\*: technical/);
    assert.equal(asked.length, 1);
    assert.match(asked[0].params.message, /python/);
    assert.equal(sent.filter(({ method }) => method === 'tasks/update').length, 1);
  });
  const _meta = {
    'io.modelcontextprotocol/protocolVersion': protocolVersion,
    'io.modelcontextprotocol/clientInfo': clientInfo,
    'io.modelcontextprotocol/clientCapabilities': follows,
  };
  await check('a task is taken back, and is of no use to another user', async () => {
    const begun = await raw({ method: 'tools/call', params: { name: tool, arguments: { topic: 'x' }, _meta } });
    assert.equal(begun.result.resultType, 'task', JSON.stringify(begun));
    const { taskId } = begun.result;
    for (const method of ['tasks/get', 'tasks/cancel']) {
      const foreign = await dispatch(url, tokens.max)({ method, params: { taskId, _meta } });
      assert.equal(foreign.error?.code, -32602, JSON.stringify(foreign));
    }
    assert.deepEqual((await raw({ method: 'tasks/cancel', params: { taskId, _meta } })).result, { resultType: 'complete' });
    const stands = () => raw({ method: 'tasks/get', params: { taskId, _meta } });
    await until('it is cancelled', async () => (await stands()).result.status === 'cancelled');
  });
  await session.close();
  await client.close();

  for (const ambiguous of [false, true]) {
    await check(`a client without tasks waits for the answer${ambiguous ? ', and is asked on the way' : ''}`, async () => {
      const plain = await pasted('v2', url, tokens.ana, { capabilities, ...pin });
      let questions = 0;
      plain.setRequestHandler('elicitation/create', async () => {
        questions += 1;
        return answer;
      });
      const result = await plain.callTool({ name: tool, arguments: { topic: 'gates', ambiguous } });
      assert.match(words(result), /Research Report: gates/);
      assert.equal(questions, ambiguous ? 1 : 0);
      await plain.close();
    });
  }
  await check('a client of 2025-11-25 has the server\'s own tasks', async () => {
    const older = await pasted('v1', url, tokens.ana, { capabilities });
    const messages = [];
    await older.listTools();
    for await (const message of older.experimental.tasks.callToolStream({ name: tool, arguments: { topic: 'gates' } })) {
      messages.push(message);
    }
    assert.equal(messages[0].type, 'taskCreated', JSON.stringify(messages));
    assert.match(words(messages.at(-1).result), /Research Report: gates/);
    await older.close();
  });
});
