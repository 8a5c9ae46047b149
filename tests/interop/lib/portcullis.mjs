// The program under test: `portcullis demo`, and `portcullis serve` with a configuration written here.
import fs from 'node:fs';
import path from 'node:path';

import { until } from './check.mjs';
import { freePort, home, repository, run, start } from './process.mjs';

export const binary = process.env.PORTCULLIS_BIN ?? path.join(repository, 'target/release/portcullis');

let folders = 0;
/** A new folder of this run. */
export function folder() {
  folders += 1;
  const name = `${path.basename(process.argv[1], '.mjs')}-${process.pid}-${folders}`;
  const made = path.join(home, 'run', name);
  fs.mkdirSync(made, { recursive: true });
  return made;
}

/** Starts the demo on free ports; what it prints, and its command to mint a token. */
export async function demo(...flags) {
  const cwd = folder();
  const args = ['demo', '--format', 'json', '--listen', '127.0.0.1:0', ...flags];
  const program = await start('demo', binary, args, { cwd, ready: /^\{.*"mcp_url".*\}$/ });
  const mint = async (user) => {
    const { code, stdout, stderr } = await run('mint', binary, ['token', 'mint', '--user', user], { cwd });
    if (code !== 0) throw new Error(`token mint ended with ${code}: ${stderr}`);
    return stdout.trim();
  };
  return { ...JSON.parse(program.ready[0]), mint, program };
}

/**
 * Starts the proxy in front of `servers` ({ name: { upstream, policy, extra } }) with tokens of `issuer`. With `tls`
 * ({ cert, key, ca }) it listens on TLS; `issuerKeys` are more lines of `[issuers.interop]`, `env` more variables of its
 * environment, `publicUrl` the address of several that look like one, and `tables` more lines at the end. Gives the URL of each server and the audit file.
 */
export async function serve({ issuer, servers, tls, port, env, issuerKeys = [], publicUrl, tables = [] }) {
  const cwd = folder();
  port ??= await freePort();
  const admin = await freePort();
  const origin = `${tls ? 'https' : 'http'}://127.0.0.1:${port}`;
  const audit = path.join(cwd, 'audit.jsonl');
  const text = (value) => JSON.stringify(value);
  const lines = [
    '[server]',
    `public_url = ${text(publicUrl ?? origin)}`,
    `listen = [${text(`127.0.0.1:${port}`)}]`,
    ...(tls ? ['[server.tls]', `cert_file = ${text(tls.cert)}`, `key_file = ${text(tls.key)}`] : []),
    '[server.drain]',
    'delay = "0s"',
    'timeout = "2s"',
    '[admin]',
    `listen = ${text(`127.0.0.1:${admin}`)}`,
    '[issuers.interop]',
    `issuer = ${text(issuer)}`,
    ...(issuer.startsWith('http:') ? ['insecure_loopback = true'] : []),
    ...issuerKeys,
    '[audit]',
    `sinks = [{ type = "file", path = ${text(audit)} }]`,
  ];
  const urls = {};
  for (const [name, server] of Object.entries(servers)) {
    const file = path.join(cwd, `${name}.toml`);
    fs.writeFileSync(file, server.policy);
    urls[name] = `${origin}/${name}/mcp`;
    lines.push(
      `[servers.${name}]`,
      `path = ${text(`/${name}/mcp`)}`,
      ...(server.upstream ? [`upstream = ${text(server.upstream)}`] : []),
      `policies = [${text(file)}]`,
      ...(server.extra ?? []),
    );
  }
  lines.push(...tables);
  const config = path.join(cwd, 'proxy.toml');
  fs.writeFileSync(config, `${lines.join('\n')}\n`);
  const program = await start('serve', binary, ['serve', '-c', config], { cwd, env });
  const answered = async () => {
    if (program.child.exitCode !== null) return 'ended';
    return (await fetch(`http://127.0.0.1:${admin}/readyz`)).ok;
  };
  if ((await until('portcullis is ready', answered)) === 'ended') {
    throw new Error(`serve ended with ${program.child.exitCode}:\n${program.lines.join('\n')}`);
  }
  return { admin: `http://127.0.0.1:${admin}`, audit, config, cwd, origin, program, urls };
}

/** A certificate authority and a certificate for loopback, made by openssl. */
export async function certificates() {
  const cwd = folder();
  const at = (name) => path.join(cwd, name);
  const openssl = async (...args) => {
    const { code, stderr } = await run('openssl', 'openssl', args, { cwd });
    if (code !== 0) throw new Error(`openssl ${args[0]}: ${stderr}`);
  };
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-noenc', '-days', '2'];
  await openssl('req', '-x509', ...key, '-subj', '/CN=Interop CA', '-keyout', 'ca.key', '-out', 'ca.pem');
  await openssl(
    'req', '-x509', ...key, '-subj', '/CN=127.0.0.1', '-CA', 'ca.pem', '-CAkey', 'ca.key',
    '-addext', 'subjectAltName=IP:127.0.0.1,DNS:localhost', '-addext', 'basicConstraints=critical,CA:FALSE',
    '-addext', 'extendedKeyUsage=serverAuth,clientAuth', '-keyout', 'tls.key', '-out', 'tls.pem',
  );
  return { ca: at('ca.pem'), cert: at('tls.pem'), key: at('tls.key') };
}

/** The records of an audit file. */
export function records(file) {
  return fs.readFileSync(file, 'utf8').split('\n').filter(Boolean).map((line) => JSON.parse(line));
}
