// What a security engineer does with the README's chapter on policies alone: from the tools of a server from npm to a
// policy that is written, tested, shadowed, replayed and enforced. Every command is one the README names.
import fs from 'node:fs';
import path from 'node:path';

import { authorizationServer } from '../lib/authorization-server.mjs';
import { assert, suite, until } from '../lib/check.mjs';
import { pasted, words } from '../lib/client.mjs';
import { binary, folder, records } from '../lib/portcullis.mjs';
import { freePort, installed, run, start } from '../lib/process.mjs';

const cwd = folder();
const at = (name) => path.join(cwd, name);
const POLICY = 'policies/everything.toml';

/** The output of `portcullis ARGS`, which has to end with `code`. */
async function portcullis(code, ...args) {
  const done = await run('portcullis', binary, args, { cwd });
  assert.equal(done.code, code, `portcullis ${args.join(' ')}\n${done.stdout}${done.stderr}`);
  return done;
}

/** The policy once the scaffold was taken apart; `shadow` is the line that keeps the newest rule out of force. */
const written = (shadow, expected) => `#:schema ./policy.schema.json
[policy]
name = "everything"

[scopes]
"everything:write" = ["everything:read"]

[[rule]]
id     = "read"
tools  = ["echo", "get-{annotated-message,resource-links,resource-reference,structured-content,tiny-image}"]
scopes = ["everything:read"]

[[rule]]
id     = "sums"
tools  = ["get-sum"]
scopes = ["everything:read"]

[rule.args]
a = { maximum = 100 }
b = { maximum = 100 }

[[rule]]
id     = "write"
tools  = ["toggle-*", "trigger-long-running-operation", "simulate-research-query", "gzip-file-as-resource"]
scopes = ["everything:write"]

[[rule]]
id     = "no-env"
effect = "deny"
tools  = ["get-env"]

[[rule]]
id     = "no-fetching"
effect = "deny"
${shadow}
tools  = ["gzip-file-as-resource"]
when   = "!args.data.startsWith('data:')"
reason = "Only data URIs are compressed"

[[rule]]
id     = "no-toggles"
effect = "deny"
${shadow}
tools  = ["toggle-*"]

[[mask]]
id       = "secrets"
on       = ["arguments", "result"]
entities = ["SECRET"]

[[test]]
name   = "a reader adds small numbers"
scopes = ["everything:read"]
call   = { tool = "get-sum", args = { a = 2, b = 40 } }
expect = { decision = "allow", rule = "sums" }

[[test]]
name   = "and no large ones"
scopes = ["everything:read"]
call   = { tool = "get-sum", args = { a = 2, b = 400 } }
expect = { decision = "deny" }

[[test]]
name   = "a reader echoes, and secrets do not get there"
scopes = ["everything:read"]
call   = { tool = "echo", args = { message = "token ghp_0123456789abcdefghijABCDEFGHIJ012345" } }
expect = { decision = "allow", rule = "read", arguments = { message = "token [SECRET]" } }

[[test]]
name   = "a reader is asked for what writes"
scopes = ["everything:read"]
call   = { tool = "trigger-long-running-operation" }
expect = { decision = "step_up", rule = "write", scopes = ["everything:write"] }

[[test]]
name   = "nobody sees the environment"
scopes = ["everything:write"]
call   = { tool = "get-env" }
expect = { decision = "deny", rule = "no-env" }

[[test]]
name   = "nothing is fetched"
scopes = ["everything:write"]
call   = { tool = "gzip-file-as-resource", args = { name = "x.gz", data = "https://example.com/x", outputType = "resource" } }
expect = { ${expected('no-fetching')} }

[[test]]
name   = "nothing is toggled"
scopes = ["everything:write"]
call   = { tool = "toggle-simulated-logging" }
expect = { ${expected('no-toggles')} }
`;
const shadowed = written('mode   = "shadow"', (rule) => `decision = "allow", rule = "write", would = { decision = "deny", rule = "${rule}" }`);
const enforced = written('', (rule) => `decision = "deny", rule = "${rule}"`);
const fetched = { name: 'x.gz', data: 'http://127.0.0.1:1/x', outputType: 'resource' };

await suite('policy', async (check) => {
  const [port, listen, admin] = [await freePort(), await freePort(), await freePort()];
  await start('everything', process.execPath, [installed('@modelcontextprotocol/server-everything/dist/index.js'), 'streamableHttp'], {
    env: { PORT: String(port) },
    ready: /listening on port/,
  });
  const url = `http://127.0.0.1:${listen}/everything/mcp`;
  const scopes = 'everything:use everything:read everything:write';
  const issuer = await authorizationServer({ [url]: scopes });
  const token = async (name, scope) => {
    const minted = await issuer.token(url, scope);
    fs.writeFileSync(at(`${name}.jwt`), minted, { mode: 0o600 });
    return minted;
  };
  const configuration = `[server]
public_url = "http://127.0.0.1:${listen}"
listen = ["127.0.0.1:${listen}"]
[server.drain]
delay = "0s"
[admin]
listen = "127.0.0.1:${admin}"
[issuers.corp]
issuer = "${issuer.issuer}"
insecure_loopback = true
[audit]
sinks = [{ type = "file", path = "log/audit.jsonl" }]
[servers.everything]
path = "/everything/mcp"
upstream = "http://127.0.0.1:${port}/mcp"
policies = ["${POLICY}"]
`;
  fs.mkdirSync(at('policies'));
  fs.mkdirSync(at('log'));
  fs.writeFileSync(at('proxy.toml'), configuration);
  const reader = await token('reader', 'everything:read');
  const writer = await token('writer', 'everything:read everything:write');

  await check('a policy to begin with, made of what the server offers', async () => {
    // As a shell does for `> policies/everything.toml`.
    fs.writeFileSync(at(POLICY), '');
    const { stdout } = await portcullis(0, 'tools', 'everything', '--scaffold');
    assert.match(stdout, /"get-sum"/);
    fs.writeFileSync(at(POLICY), stdout);
    const checked = await portcullis(0, 'check', '-D');
    assert.match(checked.stdout, /policies\/everything\.toml +1 rule, 0 masks, 2 tests passed/);
    assert.match(checked.stdout, /upstream everything +\d+ tools, all listed by an allow rule/);
    await portcullis(0, 'test', '--min', '100');
  });
  await check('its definitions are locked, and nothing drifts', async () => {
    const { stderr, stdout } = await portcullis(0, 'tools', 'everything', '--lock');
    assert.match(stdout, /wrote .*everything\.lock: \d+ definitions approved/);
    const line = /add `(lock = "policies\/everything\.lock")` to \[servers\.everything\]/.exec(stderr);
    assert.ok(line, stderr);
    fs.appendFileSync(at('proxy.toml'), `${line[1]}\n`);
    await portcullis(0, 'tools', 'everything', '--verify');
  });
  await check('a slip is shown where it is, with what was meant', async () => {
    fs.writeFileSync(at('policies/policy.schema.json'), (await portcullis(0, 'generate', 'schema', 'policy')).stdout);
    const slips = shadowed.replace('tools  = ["get-sum"]', 'tools  = ["get-sun"]').replace('a = { max', 'aa = { max');
    fs.writeFileSync(at(POLICY), slips);
    const unknown = await portcullis(1, 'check', '--offline', '-D');
    assert.match(unknown.stderr, /has no tool that `get-sun` lists[\s\S]*\^{9}[\s\S]*did you mean `get-sum`\?/);
    fs.writeFileSync(at(POLICY), slips.replace('get-sun', 'get-sum'));
    const absent = await portcullis(1, 'check', '--offline');
    assert.match(absent.stderr, /error: the tool `get-sum` has no argument \/aa/);
    fs.writeFileSync(at(POLICY), shadowed.replace('a = { maximum = 100 }', 'a = { max_length = 100 }'));
    const typed = await portcullis(1, 'check', '--offline');
    assert.match(typed.stderr, /`max_length` of \/a in the rule `sums` contradicts[\s\S]*the schema wants a number/);
  });
  await check('the policy is tested, every rule and mask of it', async () => {
    fs.writeFileSync(at(POLICY), shadowed);
    await portcullis(0, 'check', '-D');
    const { stdout } = await portcullis(0, 'test', '--min', '100');
    assert.match(stdout, /coverage 100 % {3}6 of 6 rules, 1 of 1 masks/);
    assert.match(stdout, /7 passed/);
    fs.writeFileSync(at(POLICY), shadowed.replaceAll('maximum = 100', 'maximum = 10'));
    const failed = await portcullis(1, 'test');
    assert.match(failed.stdout, /FAIL +a reader adds small numbers/);
    fs.writeFileSync(at(POLICY), shadowed);
  });

  const proxy = await start('serve', binary, ['serve'], { cwd });
  await until('the proxy is ready', async () => {
    assert.equal(proxy.child.exitCode, null, proxy.lines.join('\n'));
    return (await fetch(`http://127.0.0.1:${admin}/readyz`)).ok;
  });
  const client = await check('a client connects', () => pasted('v2', url, writer));
  const call = (name, args = {}) => client.callTool({ name, arguments: args });
  await check('in shadow a rule is noted and denies nothing', async () => {
    assert.match(words(await call('get-sum', { a: 2, b: 40 })), /42/);
    const denied = words(await call('get-sum', { a: 2, b: 87654321 }));
    assert.match(denied, /rule sums\): argument \/b does not meet maximum/);
    assert.doesNotMatch(denied, /87654321/);
    assert.doesNotMatch(words(await call('gzip-file-as-resource', fetched)), /[Dd]enied/);
    await call('toggle-simulated-logging');
    const calls = records(at('log/audit.jsonl')).filter((line) => line.event === 'call' && line.method === 'tools/call');
    const noted = calls.map((line) => [line.tool, line.decision, line.shadow]);
    assert.deepEqual(noted, [
      ['get-sum', 'allow', false],
      ['get-sum', 'deny', false],
      ['gzip-file-as-resource', 'allow', true],
      ['toggle-simulated-logging', 'allow', true],
    ]);
  });
  await check('the model reads the limit before it runs into it', async () => {
    const { tools } = await client.listTools();
    const names = tools.map(({ name }) => name);
    assert.ok(names.includes('toggle-simulated-logging') && !names.includes('get-env'), names.join());
    assert.equal(tools.find(({ name }) => name === 'get-sum').inputSchema.properties.a.maximum, 100);
  });
  await check('replay says whom the rules in shadow would meet', async () => {
    const same = await portcullis(0, 'replay', 'log/audit.jsonl', '--policies', 'policies/');
    assert.match(same.stdout, /none would change/);
    const { stderr, stdout } = await portcullis(1, 'replay', 'log/audit.jsonl', '--policies', 'policies/', '--enforced');
    assert.match(stdout, /allow +→ deny +1 +rule no-toggles +1 subject: load/);
    assert.match(stderr, /1 of those was marked when it was made: rules in shadow would have decided otherwise/);
  });
  await check('explain tells why, and what the client would get', async () => {
    const asked = ['explain', '--token', 'writer.jwt', '--tool', 'gzip-file-as-resource', '--args', JSON.stringify(fetched)];
    const now = await portcullis(0, ...asked);
    assert.match(now.stdout, /decision +allow +rule write/);
    assert.match(now.stdout, /denies +no-fetching .* in shadow, so without effect/);
    const asker = await portcullis(1, 'explain', '--token', 'reader.jwt', '--tool', 'trigger-long-running-operation');
    const { stdout } = asker;
    const headers = { accept: 'application/json, text/event-stream', authorization: `Bearer ${reader}`, 'content-type': 'application/json', 'mcp-protocol-version': '2025-11-25' };
    const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'trigger-long-running-operation' } });
    const answer = await fetch(url, { method: 'POST', headers, body });
    assert.equal(answer.status, 403);
    assert.ok(stdout.includes(answer.headers.get('www-authenticate')), `${answer.headers.get('www-authenticate')}\n${stdout}`);
  });
  await check('enforced, the rules deny, without a restart', async () => {
    fs.writeFileSync(at(POLICY), enforced);
    await portcullis(0, 'check', '-D');
    await portcullis(0, 'test', '--min', '100');
    await until('the rules are in force', async () => !(await client.listTools()).tools.some(({ name }) => name.startsWith('toggle-')));
    const denied = await call('gzip-file-as-resource', fetched);
    assert.equal(denied.isError, true);
    assert.match(words(denied), /rule no-fetching\): Only data URIs are compressed/);
    const data = await call('gzip-file-as-resource', { ...fetched, data: 'data:text/plain,hello' });
    assert.doesNotMatch(words(data), /[Dd]enied/);
    const gone = await call('toggle-simulated-logging').catch((error) => error);
    assert.match(gone.message ?? words(gone), /Unknown tool/);
    const replayed = await portcullis(1, 'replay', 'log/audit.jsonl', '--policies', 'policies/');
    assert.match(replayed.stdout, /allow +→ deny +1 +rule no-toggles/);
  });
  await check('learn finds the least that was used', async () => {
    const { stdout } = await portcullis(0, 'learn', 'log/audit.jsonl');
    assert.match(stdout, /"get-sum"/);
    assert.doesNotMatch(stdout, /get-env|echo/);
    fs.mkdirSync(at('learnt'));
    fs.writeFileSync(at('learnt/everything.toml'), stdout);
    await portcullis(0, 'test', 'learnt');
  });
  await check('a definition that changed is found, approved, and found no more', async () => {
    const lock = fs.readFileSync(at('policies/everything.lock'), 'utf8');
    const kept = lock.split('\n').filter((line) => !line.includes('"tool":"echo"')).join('\n');
    fs.writeFileSync(at('policies/everything.lock'), kept);
    const drift = await portcullis(1, 'tools', 'everything', '--verify');
    assert.match(drift.stdout, /echo/);
    await until('echo is quarantined', async () => !(await client.listTools()).tools.some(({ name }) => name === 'echo'));
    await portcullis(0, 'tools', 'everything', '--approve', 'echo');
    await portcullis(0, 'tools', 'everything', '--verify');
    await until('echo is back', async () => (await client.listTools()).tools.some(({ name }) => name === 'echo'));
  });
  await check('closes', () => client.close());
});
