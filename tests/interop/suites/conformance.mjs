// The official conformance suite, first against the rmcp fixture itself, then through Portcullis with masks and audit
// on, plain and over TLS. Every check of every scenario has to come out as in the direct run, scored or not: the exit
// code alone misses half of what an intermediary can break.
import fs from 'node:fs';

import { assert, suite } from '../lib/check.mjs';
import { differences, verdicts } from '../lib/conformance.mjs';
import { fixture, policy, scopes } from '../lib/fixture.mjs';
import { forwarder } from '../lib/forwarder.mjs';
import { certificates, records } from '../lib/portcullis.mjs';
import { stop } from '../lib/process.mjs';
import { stack } from '../lib/stack.mjs';

const REVISIONS = { '2025-11-25': 83, '2026-07-28': 197 };

await suite('conformance', async (check) => {
  const upstream = await fixture();
  const direct = {};
  for (const [revision, least] of Object.entries(REVISIONS)) {
    await check(`${revision} direct: ${least} checks succeed`, async () => {
      direct[revision] = await verdicts(upstream.url, revision);
      const bad = [...direct[revision]].filter(([, { status }]) => !['SUCCESS', 'SKIPPED'].includes(status));
      assert.deepEqual(bad, []);
      const good = [...direct[revision].values()].filter(({ status }) => status === 'SUCCESS').length;
      assert.ok(good >= least, `only ${good} checks succeeded`);
    }, 200_000);
  }
  for (const tls of [undefined, await certificates()]) {
    const { issuer, proxy, urls } = await stack({ fixture: { upstream: upstream.url, policy, scopes } }, { tls });
    const token = await issuer.token(urls.fixture, scopes);
    const forward = await forwarder(proxy.origin, token, { ca: tls?.ca });
    const how = tls ? 'over TLS' : 'plain';
    for (const revision of Object.keys(REVISIONS)) {
      await check(`${revision} through Portcullis, ${how}: every check as in the direct run`, async () => {
        assert.ok(direct[revision], 'there is no direct run to compare with');
        const through = await verdicts(`${forward.origin}/fixture/mcp`, revision);
        const different = differences(direct[revision], through);
        assert.ok(different.length === 0, `${different.length} of ${direct[revision].size} differ:\n${different.join('\n')}`);
      }, 200_000);
    }
    await forward.close();
    await stop(proxy.program);
    await check(`${how}: two audit lines for each call, no token in any, and the masks were on`, async () => {
      const text = fs.readFileSync(proxy.audit, 'utf8');
      assert.ok(!text.includes(token) && !text.includes(token.split('.')[2]), 'the audit holds a token');
      const calls = new Map();
      for (const { decision, event, request_id: id } of records(proxy.audit)) {
        if (decision === 'allow') calls.set(id, [...(calls.get(id) ?? []), event]);
      }
      const odd = [...calls].filter(([, events]) => events.join() !== 'call,end');
      assert.deepEqual(odd, []);
      assert.ok(calls.size > 300, `only ${calls.size} calls`);
      assert.match(text, /"mask[^}]*"mail"/);
    });
  }
}, { limit: 900_000 });
