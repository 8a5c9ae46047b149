// npm @modelcontextprotocol/server-filesystem, a stdio server turned into HTTP by npm supergateway, under the policy
// shipped for it.
import fs from 'node:fs';
import path from 'node:path';

import { assert, suite } from '../lib/check.mjs';
import { connect, words } from '../lib/client.mjs';
import { folder } from '../lib/portcullis.mjs';
import { freePort, installed, repository, start } from '../lib/process.mjs';
import { stack } from '../lib/stack.mjs';

const policy = fs.readFileSync(path.join(repository, 'policies/filesystem.toml'), 'utf8');
// Made up; only the form is that of a key.
const KEY = `AKIA${'Z7QK3N5P2R8T4V6X'}`;

await suite('filesystem', async (check) => {
  const files = fs.realpathSync(folder());
  fs.writeFileSync(path.join(files, 'readme.md'), 'Nothing to hide here.\n');
  fs.writeFileSync(path.join(files, 'deploy.env'), `AWS_ACCESS_KEY_ID=${KEY}\nREGION=eu-central-1\n`);
  const server = [process.execPath, installed('@modelcontextprotocol/server-filesystem/dist/index.js'), files];
  const urls = {};
  for (const mode of ['stateful', 'stateless']) {
    const port = await freePort();
    const args = ['--stdio', server.join(' '), '--outputTransport', 'streamableHttp', '--port', String(port)];
    if (mode === 'stateful') args.push('--stateful');
    await start(mode, process.execPath, [installed('supergateway/dist/index.js'), ...args], { ready: /Listening on port/ });
    const { urls: made } = await stack({ files: { upstream: `http://127.0.0.1:${port}/mcp`, policy, scopes: 'files:read' } });
    urls[mode] = made.files;
  }
  for (const [mode, url] of Object.entries(urls)) {
    const session = await check(`${mode}: signs in and connects`, () => connect('v1', url, 'ana'));
    if (!session) continue;
    const { call, client } = session;
    await check(`${mode}: lists what may be read, and nothing that writes`, async () => {
      const names = (await client.listTools()).tools.map(({ name }) => name);
      assert.ok(names.includes('read_text_file') && names.includes('list_directory'), names.join());
      assert.deepEqual(names.filter((name) => /^(write|edit|move|create|delete)/.test(name)), []);
    });
    await check(`${mode}: reads a file`, async () => {
      const result = await call('read_text_file', { path: path.join(files, 'readme.md') });
      assert.equal(words(result).trim(), 'Nothing to hide here.');
    });
    await check(`${mode}: a key in a file does not leave`, async () => {
      const result = await call('read_text_file', { path: path.join(files, 'deploy.env') });
      assert.ok(!JSON.stringify(result).includes(KEY), JSON.stringify(result));
      assert.match(words(result), /REGION=eu-central-1/);
    });
    await check(`${mode}: writing is not there`, async () => {
      const target = path.join(files, 'new.txt');
      const answer = await call('write_file', { path: target, content: 'x' }).catch((error) => error);
      assert.match(answer.message ?? words(answer), /Unknown tool|[Dd]enied/);
      assert.equal(fs.existsSync(target), false);
    });
    await check(`${mode}: what the server refuses is said by the server`, async () => {
      const result = await call('read_text_file', { path: '/etc/hostname' });
      assert.equal(result.isError, true);
      assert.match(words(result), /outside allowed directories/);
    });
    await check(`${mode}: closes`, () => client.close());
  }
});
