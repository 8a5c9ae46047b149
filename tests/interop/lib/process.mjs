// Starting programs and stopping exactly those.
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import readline from 'node:readline';
import { fileURLToPath } from 'node:url';

export const repository = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../../..');
/** Where packages, logs and other droppings live; ignored by git. */
export const home = process.env.INTEROP_HOME ?? path.join(repository, 'target/interop');
const logs = path.join(home, 'logs');
const running = new Map();

/** The entry of an installed package. */
export const installed = (...parts) => path.join(home, 'node_modules', ...parts);

/**
 * Starts a program and waits until a line of its output matches `ready` (the match is `.ready`) or, without one, not at
 * all. Output goes to a log file.
 */
export async function start(name, command, args = [], { ready, env = {}, cwd, ms = 30_000 } = {}) {
  fs.mkdirSync(logs, { recursive: true });
  const file = path.join(logs, `${path.basename(process.argv[1], '.mjs')}-${name}-${process.pid}.log`);
  const log = fs.createWriteStream(file);
  const child = spawn(command, args, { cwd, env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
  const ended = new Promise((resolve) => {
    child.on('exit', (code, signal) => resolve({ code, signal }));
    child.on('error', (error) => resolve({ error }));
  });
  const program = { name, file, child, ended, lines: [] };
  running.set(child.pid, program);
  ended.then(() => running.delete(child.pid));
  let matched;
  const match = new Promise((resolve) => { matched = resolve; });
  for (const stream of [child.stdout, child.stderr]) {
    readline.createInterface({ input: stream }).on('line', (line) => {
      log.write(`${line}\n`);
      program.lines.push(line);
      const found = ready?.exec(line);
      if (found) matched(found);
    });
  }
  if (!ready) return program;
  let timer;
  const late = new Promise((resolve) => { timer = setTimeout(() => resolve('late'), ms); });
  const outcome = await Promise.race([match, late, ended.then((how) => ({ how }))]);
  clearTimeout(timer);
  if (outcome === 'late' || outcome.how) {
    await stop(program);
    const why = outcome === 'late' ? `not ready after ${ms} ms` : `ended: ${JSON.stringify(outcome.how)}`;
    throw new Error(`${name} ${why}; ${file}:\n${program.lines.slice(-15).join('\n')}`);
  }
  program.ready = outcome;
  return program;
}

/** Asks a program to end, and ends it when it does not listen. */
export async function stop(program, ms = 3_000) {
  if (!running.has(program.child.pid)) return program.ended;
  program.child.kill('SIGTERM');
  const timer = setTimeout(() => program.child.kill('SIGKILL'), ms);
  const how = await program.ended;
  clearTimeout(timer);
  return how;
}

/** Everything this process started and did not stop. */
export async function stopAll() {
  await Promise.all([...running.values()].map((program) => stop(program)));
}

/** Runs a program to its end. */
export async function run(name, command, args, { input, ms = 60_000, ...options } = {}) {
  const child = spawn(command, args, {
    ...options,
    env: { ...process.env, ...options.env },
    stdio: [input === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe'],
  });
  let stdout = '';
  let stderr = '';
  child.stdout.on('data', (chunk) => { stdout += chunk; });
  child.stderr.on('data', (chunk) => { stderr += chunk; });
  if (input !== undefined) child.stdin.end(input);
  const timer = setTimeout(() => child.kill('SIGKILL'), ms);
  const code = await new Promise((resolve, reject) => {
    child.on('close', (value, signal) => resolve(value ?? signal));
    child.on('error', reject);
  });
  clearTimeout(timer);
  return { code, stdout, stderr };
}

/**
 * A port nobody listens on, below those the system gives to connections (from 32768 on): one of these could be taken by a
 * connection before the program it is for listens.
 */
export async function freePort() {
  for (;;) {
    const port = 10_000 + Math.floor(Math.random() * 22_000);
    const server = net.createServer();
    const listens = await new Promise((resolve) => {
      server.once('error', () => resolve(false));
      server.listen(port, '127.0.0.1', () => resolve(true));
    });
    if (!listens) continue;
    await new Promise((resolve) => server.close(resolve));
    return port;
  }
}
