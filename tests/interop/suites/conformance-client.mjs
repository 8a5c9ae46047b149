// The client side of the official conformance suite: its server judges what a client sends, first the client itself, then what
// Portcullis makes of it. Every check of every scenario has to come out as in the direct run.
import { assert, suite } from '../lib/check.mjs';
import { authorizationServer } from '../lib/authorization-server.mjs';
import { clientVerdicts, differences } from '../lib/conformance.mjs';
import { freePort } from '../lib/process.mjs';

// Without `auth/*`, whose servers want the client's own token (README), and the extension for skills.
const SCENARIOS = {
  '2025-11-25': ['initialize', 'tools_call', 'elicitation-sep1034-client-defaults', 'sse-retry', 'json-schema-2020-12-preservation'],
  '2026-07-28': [
    'tools_call', 'request-metadata', 'sep-2322-client-request-state', 'http-standard-headers', 'http-custom-headers',
    'http-invalid-tool-headers', 'json-schema-ref-no-deref', 'json-schema-2020-12-preservation',
  ],
};

const policy = `
[policy]
name = "leg"

[[rule]]
id = "use"
tools = ["**"]
resources = ["**"]
resource_templates = ["**"]
prompts = ["**"]
scopes = ["leg:use"]

[[rule]]
id = "ask"
methods = ["elicitation/create", "sampling/createMessage", "roots/list"]
scopes = ["leg:use"]

[[mask]]
id = "cards"
on = ["arguments", "result"]
entities = ["CREDIT_CARD"]
action = "mask"
`;

await suite('conformance-client', async (check) => {
  const port = await freePort();
  const url = `http://127.0.0.1:${port}/leg/mcp`;
  const { issuer, token } = await authorizationServer({ [url]: 'leg:use' });
  const leg = { issuer, policy, port, token: await token(url, 'leg:use') };
  for (const [revision, scenarios] of Object.entries(SCENARIOS)) {
    for (const scenario of scenarios) {
      const direct = await check(`${revision} ${scenario} direct: every check succeeds`, async () => {
        const verdicts = await clientVerdicts(scenario, revision);
        const bad = [...verdicts].filter(([, { status }]) => !['SUCCESS', 'SKIPPED'].includes(status));
        assert.deepEqual(bad, []);
        return verdicts;
      });
      await check(`${revision} ${scenario} through Portcullis: every check as in the direct run`, async () => {
        assert.ok(direct, 'there is no direct run to compare with');
        const different = differences(direct, await clientVerdicts(scenario, revision, leg));
        assert.ok(different.length === 0, `${different.length} of ${direct.size} differ:\n${different.join('\n')}`);
      });
    }
  }
}, { limit: 600_000 });
