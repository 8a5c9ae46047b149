// A headless Chromium signs in on the demo's login page, for a client that is called back as desktop clients are.
import http from 'node:http';
import { createRequire } from 'node:module';

import { assert, refused, suite, within } from '../lib/check.mjs';
import { Memory, connect, words } from '../lib/client.mjs';
import { demo, folder } from '../lib/portcullis.mjs';
import { home } from '../lib/process.mjs';

const require = createRequire(`${home}/`);
const { chromium } = require('playwright-core');

const FLAGS = [
  '--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync',
];

/** A listener like that of a desktop client; `next()` is the URL of the next callback. */
async function callback() {
  const waiting = [];
  const server = http.createServer((request, response) => {
    response.writeHead(200, { 'content-type': 'text/html' }).end('<title>done</title>You may close this window.');
    if (request.url.startsWith('/callback')) waiting.shift()?.(new URL(request.url, origin));
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const origin = `http://127.0.0.1:${server.address().port}`;
  return { url: `${origin}/callback`, next: () => new Promise((resolve) => waiting.push(resolve)), server };
}

await suite('browser', async (check) => {
  const shown = await demo();
  const back = await callback();
  const browser = await chromium.launchPersistentContext(folder(), {
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: FLAGS,
  });
  const pages = [];
  const press = (button) => async (url) => {
    const page = await browser.newPage();
    const errors = [];
    page.on('console', (message) => message.type() === 'error' && errors.push(message.text()));
    page.on('pageerror', (error) => errors.push(error.message));
    const called = back.next();
    await page.goto(String(url));
    pages.push({ text: await page.locator('main').innerText(), title: await page.title(), errors });
    await page.getByRole('button', { name: button }).click();
    const answer = await within(10_000, 'the callback', called);
    await page.close();
    return answer;
  };
  try {
    const memory = new Memory('ana', { browser: press(/Ana/), callback: back.url });
    const session = await check('Ana signs in on the page and the client connects', () => (
      connect('v2', shown.mcp_url, 'ana', { memory })
    ));
    await check('the page says who asks, for what, and where it leads', async () => {
      const [page] = pages;
      assert.match(page.text, /interop/);
      assert.match(page.text, /crm:read/);
      assert.ok(page.text.includes(shown.mcp_url), page.text);
      assert.ok(page.text.includes(new URL(back.url).host), page.text);
      assert.deepEqual(page.errors, []);
    });
    await check('the client reads, masked', async () => {
      assert.match(words(await session.call('get_contact', { id: 'c-001' })), /\*{12}1111/);
    });
    await check('a write asks for more, the page says so, Ana allows it', async () => {
      const text = words(await session.call('update_contact', { id: 'c-002', notes: 'Allowed in a browser' }));
      assert.match(text, /Allowed in a browser/);
      assert.equal(pages.length, 2);
      assert.match(pages[1].text, /crm:write/);
      await session.close();
    });
    await check('"Do not allow" is told to the client', async () => {
      const unwilling = new Memory('ana', { browser: press(/Do not allow/), callback: back.url });
      const error = await refused(() => connect('v2', shown.mcp_url, 'ana', { memory: unwilling }));
      assert.match(`${error.message} ${error.code}`, /access_denied|said no/);
    });
  } finally {
    await browser.close();
    back.server.close();
  }
});
