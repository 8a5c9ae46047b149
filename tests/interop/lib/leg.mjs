// The client that the conformance suite judges. It gets the URL of the suite's server; with `INTEROP_LEG` it puts Portcullis in
// between, so that the suite judges what comes out of that.
import { sdk } from './client.mjs';
import { serve } from './portcullis.mjs';
import { stopAll } from './process.mjs';

const { v1, v2 } = sdk;
const version = process.env.MCP_CONFORMANCE_PROTOCOL_VERSION;
const context = JSON.parse(process.env.MCP_CONFORMANCE_CONTEXT ?? '{}');
const leg = process.env.INTEROP_LEG && JSON.parse(process.env.INTEROP_LEG);
const modern = version === '2026-07-28';

/** Something that fits a schema. */
function sample(schema = {}) {
  if (schema.default !== undefined) return schema.default;
  if (schema.enum) return schema.enum[0];
  switch (schema.type) {
    case 'array': return [];
    case 'boolean': return true;
    case 'integer': case 'number': return 5;
    case 'object': return Object.fromEntries(Object.entries(schema.properties ?? {}).map(([name, inner]) => [name, sample(inner)]));
    default: return 'x';
  }
}

/** Uses everything the server has, in order; what fails is said and does not end it. */
async function use(client) {
  const attempt = async (what, run) => {
    try {
      return await run();
    } catch (error) {
      console.error(`${what}: ${error.message}`);
      return undefined;
    }
  };
  const can = client.getServerCapabilities() ?? {};
  const tools = can.tools ? (await attempt('tools/list', () => client.listTools()))?.tools ?? [] : [];
  const calls = context.toolCalls ?? tools.map(({ name, inputSchema }) => {
    const args = sample({ type: 'object', ...inputSchema });
    // One wants to see how the schema of the other has arrived.
    if (inputSchema.properties?.schema) args.schema = tools.find((other) => other.name !== name).inputSchema;
    return { name, arguments: args };
  });
  for (const call of calls) await attempt(call.name, () => client.callTool(call));
  if (can.resources) {
    const listed = await attempt('resources/list', () => client.listResources());
    for (const { uri } of listed?.resources ?? []) await attempt(uri, () => client.readResource({ uri }));
  }
  if (can.prompts) {
    const listed = await attempt('prompts/list', () => client.listPrompts());
    for (const { name, arguments: wanted } of listed?.prompts ?? []) {
      const args = Object.fromEntries((wanted ?? []).map((argument) => [argument.name, 'x']));
      await attempt(name, () => client.getPrompt({ name, arguments: args }));
    }
  }
}

let url = process.argv[2];
const headers = {};
if (leg) {
  const { issuer, port, policy, token } = leg;
  const proxy = await serve({ issuer, port, servers: { leg: { upstream: url, policy, extra: ['schema = "report"'] } } });
  url = proxy.urls.leg;
  headers.authorization = `Bearer ${token}`;
}
// The older client fills in defaults (SEP-1034) and resumes streams (SEP-1699), the newer one speaks 2026-07-28.
const { Client, StreamableHTTPClientTransport } = modern ? v2 : v1;
const capabilities = modern
  ? { elicitation: { form: {} }, roots: {}, sampling: {} }
  : { elicitation: { form: { applyDefaults: true } } };
const client = new Client({ name: 'interop-leg', version: '1.0.0' }, {
  capabilities,
  ...(modern ? { versionNegotiation: { mode: { pin: version } } } : {}),
});
const accepted = async () => ({ action: 'accept', content: modern ? { name: 'x', confirmed: true } : {} });
client.setRequestHandler(modern ? 'elicitation/create' : v1.ElicitRequestSchema, accepted);
await client.connect(new StreamableHTTPClientTransport(new URL(url), { requestInit: { headers } }));
await use(client);
await client.close();
await stopAll();
process.exit(0);
