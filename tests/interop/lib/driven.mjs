// Clients that are programs of their own: the suite is their browser. See programs/client.py for the events.
import { spawn } from 'node:child_process';
import readline from 'node:readline';

import { signIn } from './login.mjs';

/** Runs the program to its end as `user`; every event, and the authorization URLs it asked for. */
export async function drive(command, args, user, { env = {}, ms = 60_000 } = {}) {
  const child = spawn(command, args, { env: { ...process.env, ...env }, stdio: ['pipe', 'pipe', 'pipe'] });
  const timer = setTimeout(() => child.kill('SIGKILL'), ms);
  let stderr = '';
  child.stderr.on('data', (chunk) => { stderr += chunk; });
  const ended = new Promise((resolve, reject) => {
    child.on('close', (code, signal) => resolve(code ?? signal));
    child.on('error', reject);
  });
  const facts = { asked: [] };
  for await (const line of readline.createInterface({ input: child.stdout })) {
    const event = JSON.parse(line);
    if (event.login) {
      facts.asked.push(new URL(event.login));
      child.stdin.write(`${await signIn(event.login, user)}\n`);
    } else {
      Object.assign(facts, event);
    }
  }
  const code = await ended;
  clearTimeout(timer);
  if (code !== 0) throw new Error(`${command} ended with ${code}: ${facts.error ?? ''}\n${stderr.slice(-2000)}`);
  return facts;
}
