// The official conformance suite as a table of verdicts: every check of every scenario, scored or not. The exit code alone
// misses half of what an intermediary can break.
import fs from 'node:fs';
import path from 'node:path';

import { assert } from './check.mjs';
import { folder } from './portcullis.mjs';
import { installed, repository, run } from './process.mjs';

const HARNESS = installed('@modelcontextprotocol/conformance/dist/index.js');

/** One run: every check as `scenario / id / name #n`, with its status and what the suite said about it. */
export async function verdicts(url, revision) {
  const out = folder();
  const args = [HARNESS, 'server', '--url', url, '--requirements', revision, '-o', out];
  return table(await run('conformance', process.execPath, args, { ms: 180_000 }), out);
}

/** The same of one scenario for clients, with `lib/leg.mjs` as the client; `leg` puts Portcullis in between. */
export async function clientVerdicts(scenario, revision, leg) {
  const out = folder();
  const command = `${process.execPath} ${path.join(repository, 'tests/interop/lib/leg.mjs')}`;
  const args = [HARNESS, 'client', '--command', command, '--scenario', scenario, '--spec-version', revision, '-o', out];
  const env = leg ? { INTEROP_LEG: JSON.stringify(leg) } : {};
  return table(await run('conformance', process.execPath, args, { env, ms: 60_000 }), out);
}

function table({ stdout, stderr }, out) {
  const table = new Map();
  for (const name of fs.readdirSync(out)) {
    const scenario = name.replace(/^(server|client)-/, '').replace(/-\d{4}-\d{2}-\d{2}T[\d-]+Z$/, '');
    const seen = new Map();
    for (const check of JSON.parse(fs.readFileSync(path.join(out, name, 'checks.json'), 'utf8'))) {
      // What the harness merely notes while it listens depends on chunking and timing.
      if (check.status === 'INFO') continue;
      const key = `${scenario} / ${check.id} / ${check.name}`;
      const number = (seen.get(key) ?? 0) + 1;
      seen.set(key, number);
      table.set(`${key} #${number}`, { status: check.status, said: check.errorMessage });
    }
  }
  assert.ok(table.size > 0, `the suite reported nothing:\n${stdout.slice(-2000)}${stderr.slice(-2000)}`);
  return table;
}

/** Checks that came out otherwise than in the direct run. */
export function differences(direct, through) {
  const lines = [];
  for (const key of new Set([...direct.keys(), ...through.keys()])) {
    const [before, after] = [direct.get(key), through.get(key)];
    if (before?.status !== after?.status) {
      lines.push(`${key}: ${before?.status ?? 'absent'} -> ${after?.status ?? 'absent'} ${after?.said ?? ''}`);
    }
  }
  return lines;
}
