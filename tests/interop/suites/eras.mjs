// The official conformance suite of each era at the same server of the other era, through the bridge. What comes out
// otherwise than in the direct run is named below, with the reason; the list may only shrink.
import { assert, suite } from '../lib/check.mjs';
import { pasted, words } from '../lib/client.mjs';
import { differences, verdicts } from '../lib/conformance.mjs';
import { drive } from '../lib/driven.mjs';
import { client, fixture, policy, scopes } from '../lib/fixture.mjs';
import { forwarder } from '../lib/forwarder.mjs';
import { oneEra } from '../lib/one-era.mjs';
import { stop } from '../lib/process.mjs';
import { stack } from '../lib/stack.mjs';

/** Scenarios, or single checks of one, that cannot come out alike, and why. */
const TASKS = 'this server has tasks in the newer revision alone; suite `tasks` has one that has them in the older';
const ASKS = 'the server asks so in this revision alone: at the other era the tool answers with an error or without asking';
const RESUMES = '2026-07-28 has no streams that can be resumed';
const CANNOT = {
  '2025-11-25': {
    'elicitation-sep1034-defaults': ASKS,
    'elicitation-sep1330-enums': ASKS,
    'server-sse-polling': RESUMES,
    'tools-call-elicitation': ASKS,
    'tools-call-sampling': ASKS,
  },
  '2026-07-28': {
    'input-required-result-basic-elicitation': ASKS,
    'input-required-result-basic-list-roots': ASKS,
    'input-required-result-basic-sampling': ASKS,
    'input-required-result-capability-check': ASKS,
    'input-required-result-ignore-extra-params': ASKS,
    'input-required-result-missing-input-response': ASKS,
    'input-required-result-multi-round': ASKS,
    'input-required-result-multiple-input-requests': ASKS,
    'input-required-result-non-tool-request': ASKS,
    'input-required-result-request-state': ASKS,
    'input-required-result-result-type': ASKS,
    'input-required-result-tampered-state': ASKS,
    'server-stateless / sep-2575-missing-capability-http-400': 'this server answers on a stream, whose status is sent before',
    'tasks-capability-negotiation': TASKS,
    'tasks-dispatch-and-envelope': TASKS,
    'tasks-lifecycle': TASKS,
    'tasks-mrtr-composition': TASKS,
    'tasks-mrtr-input': TASKS,
    'tasks-request-headers': TASKS,
    'tasks-request-state-removal': TASKS,
    'tasks-wire-fields': TASKS,
  },
};

await suite('eras', async (check) => {
  const upstream = await fixture();
  for (const [revision, era] of [['2026-07-28', 'older'], ['2025-11-25', 'newer']]) {
    const direct = await check(`${revision} direct`, () => verdicts(upstream.url, revision), 200_000);
    const server = await oneEra(upstream.url, era);
    const { issuer, proxy, urls } = await stack({ fixture: { upstream: server.url, policy, scopes } });
    const forward = await forwarder(proxy.origin, await issuer.token(urls.fixture, scopes));
    await check(`${revision} at a server that is ${era}: every check as in the direct run, but for those named`, async () => {
      const through = await verdicts(`${forward.origin}/fixture/mcp`, revision);
      const different = differences(direct, through);
      const named = (line) => Object.keys(CANNOT[revision]).some((scenario) => line.startsWith(`${scenario} `));
      const unexpected = different.filter((line) => !named(line));
      assert.ok(unexpected.length === 0, `${unexpected.length} of ${direct.size} differ:\n${unexpected.join('\n')}`);
      const alike = Object.keys(CANNOT[revision]).filter((scenario) => !different.some((line) => line.startsWith(`${scenario} `)));
      assert.deepEqual(alike, [], 'these come out alike now: take them off the list');
    }, 300_000);
    await check(`${revision}: the server was spoken to in its own era`, () => {
      const foreign = era === 'older' ? 'initialize' : 'server/discover';
      assert.ok(server.seen.get(foreign) > 0, JSON.stringify([...server.seen]));
    });
    const call = { name: 'test_simple_text', arguments: {} };
    const [version, options] = era === 'older' ? ['v2', { versionNegotiation: { mode: { pin: revision } } }] : ['v1', {}];
    await check(`the TypeScript client ${version}: lists and calls`, async () => {
      const typescript = await pasted(version, urls.fixture, await issuer.token(urls.fixture, scopes), options);
      assert.ok((await typescript.listTools()).tools.some(({ name }) => name === call.name));
      assert.match(words(await typescript.callTool(call)), /simple text response/);
      await typescript.close();
    });
    await check(`the rmcp client, ${era === 'older' ? 'modern' : 'legacy'}: signs in, lists, calls, asks for more`, async () => {
      const greet = { name: 'greet', arguments: { name: 'interop' } };
      const mode = era === 'older' ? 'modern' : 'legacy';
      const told = await drive(client, [urls.fixture, mode, JSON.stringify(call), JSON.stringify(greet)], 'max');
      assert.match(told.read, /simple text response/);
      assert.match(told.write, /Hello, interop!/);
      assert.ok(told.tools.includes('greet'));
    });
    await forward.close();
    await stop(proxy.program);
    await server.close();
  }
}, { limit: 900_000 });
