// What a suite is: named checks, each bounded in time, and one line at the end that the runner reads.
import assert from 'node:assert/strict';

import { stopAll } from './process.mjs';

const CHECK_MS = 60_000;

/** Runs `body(check)`; whatever it started is stopped, and the process ends with the suite's verdict. */
export async function suite(name, body, { limit = 300_000 } = {}) {
  const count = { passed: 0, failed: 0, skipped: 0 };
  const fail = (what, error) => {
    count.failed += 1;
    console.log(`  FAIL ${what}\n${String(error?.stack ?? error).replace(/^/gm, '       ')}`);
  };
  const check = async (what, run, ms = CHECK_MS) => {
    try {
      const value = await within(ms, what, run());
      count.passed += 1;
      console.log(`  ok   ${what}`);
      return value;
    } catch (error) {
      fail(what, error);
      return undefined;
    }
  };
  console.log(name);
  // Client libraries may reject in the background after a connection was refused on purpose.
  process.on('unhandledRejection', (error) => console.log(`  note: ${error?.message ?? error}`));
  try {
    await within(limit, name, body(check));
  } catch (error) {
    fail('the suite itself', error);
  }
  await stopAll();
  console.log(`suite ${name} passed ${count.passed} failed ${count.failed} skipped ${count.skipped}`);
  process.exit(count.failed === 0 && count.passed > 0 ? 0 : 1);
}

/** `promise`, or an error after `ms`. */
export async function within(ms, what, promise) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: not done after ${ms} ms`)), ms);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Asks until `ask()` gives something true; errors of `ask` are "not yet". */
export async function until(what, ask, ms = 20_000) {
  const end = Date.now() + ms;
  let last;
  while (Date.now() < end) {
    try {
      const value = await ask();
      if (value) return value;
    } catch (error) {
      last = error;
    }
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
  throw new Error(`${what}: not within ${ms} ms${last ? ` (${last.message})` : ''}`);
}

/** The error `run` throws; an error if it does not. */
export async function refused(run) {
  try {
    const value = await run();
    throw new assert.AssertionError({ message: `expected a refusal, got ${JSON.stringify(value)}` });
  } catch (error) {
    if (error instanceof assert.AssertionError) throw error;
    return error;
  }
}

export { assert };
