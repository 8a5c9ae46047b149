// The MCP Inspector's command line, with a token in a header.
import { assert, suite } from '../lib/check.mjs';
import { places } from '../lib/places.mjs';
import { folder } from '../lib/portcullis.mjs';
import { installed, run } from '../lib/process.mjs';

await suite('inspector', async (check) => {
  const home = folder();
  const [shown, ...others] = await places();
  const encrypted = { ...shown, name: 'demo over TLS', url: shown.tls, ca: shown.ca };
  for (const place of [shown, encrypted, ...others]) {
    const token = await place.token();
    const inspect = (...args) => run('inspector', process.execPath, [
      installed('@modelcontextprotocol/inspector/clients/launcher/build/index.js'),
      '--cli', place.url, '--transport', 'http', '--header', `Authorization: Bearer ${token}`, ...args,
    ], { env: { HOME: home, NO_COLOR: '1', ...(place.ca && { NODE_EXTRA_CA_CERTS: place.ca }) } });
    const pairs = (call) => Object.entries(call.arguments).flatMap(([name, value]) => ['--tool-arg', `${name}=${value}`]);
    const calls = (call) => inspect('--method', 'tools/call', '--tool-name', call.name, ...pairs(call));
    await check(`${place.name}: lists tools`, async () => {
      const { code, stdout, stderr } = await inspect('--method', 'tools/list');
      assert.equal(code, 0, stderr);
      const names = JSON.parse(stdout).tools.map(({ name }) => name);
      assert.deepEqual(place.tools.filter((name) => !names.includes(name)), []);
    });
    await check(`${place.name}: calls a tool, and sees what masks leave`, async () => {
      const { code, stdout, stderr } = await calls(place.read);
      assert.equal(code, 0, stderr);
      assert.match(stdout, place.shows);
      assert.doesNotMatch(stdout, place.hides);
    });
    await check(`${place.name}: is shown the 403 and its text`, async () => {
      const { code, stdout, stderr } = await calls(place.write);
      assert.notEqual(code, 0);
      assert.match(stdout + stderr, new RegExp(`${place.write.name} needs ${place.needs}|[Ii]nsufficient[ _]scope`));
    });
  }
});
