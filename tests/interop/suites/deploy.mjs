// What `generate` prints for who deploys, in the hands of the programs it is for: the schemas of Kubernetes, systemd,
// hadolint, and a Prometheus that watches a running demo.
import fs from 'node:fs';
import path from 'node:path';

import { assert, suite, until } from '../lib/check.mjs';
import { binary, demo, folder } from '../lib/portcullis.mjs';
import { freePort, home, repository, run, start } from '../lib/process.mjs';
import { call } from '../lib/recorder.mjs';

const prometheus = (name) => path.join(home, 'prometheus/usr/bin', name);
const python = (name) => path.join(home, 'python/bin', name);
const KUBERNETES = ['1.30', '1.37'];

/** What a command prints; an error with all of it if it does not succeed. */
async function printed(name, command, args, options) {
  const { code, stdout, stderr } = await run(name, command, args, options);
  assert.equal(code, 0, `${name} ${args.join(' ')}: ${stdout}${stderr}`);
  return stdout;
}

/** `proxy.toml` with a file of every kind, and policies beside it. */
function configured({ upstream, audit }) {
  const cwd = folder();
  fs.cpSync(path.join(repository, 'policies'), path.join(cwd, 'policies'), { recursive: true });
  fs.writeFileSync(path.join(cwd, 'proxy.toml'), `
[server]
public_url = "https://mcp.example.com"
listen = ["0.0.0.0:8443", "[::]:9443"]
tls = { cert_file = "tls/tls.crt", key_file = "\${CREDENTIALS_DIRECTORY}/tls.key" }
[admin]
listen = "0.0.0.0:9901"
beyond_loopback = true
[issuers.corp]
issuer = "https://login.example.com/realms/acme"
[servers.crm]
path = "/crm/mcp"
upstream = "${upstream}"
policies = ["policies/crm.toml"]
[servers.crm.upstream_auth]
type = "bearer"
token = { credential = "crm-token" }
[servers.files]
path = "/files/mcp"
upstream = "http://files.internal:3001/mcp"
policies = ["policies/filesystem.toml"]
[servers.files.upstream_auth]
type = "basic"
username = "p"
password = { env = "FILES_PASSWORD" }
[state.redis]
url = { credential = "redis-url" }
[[sealing.keys]]
id = "k1"
file = "/run/secrets/portcullis/k1"
[audit]
sinks = [{ ${audit} }]
`);
  return { config: path.join(cwd, 'proxy.toml'), cwd };
}

const READ = [
  '/etc/portcullis/policies/crm.toml', '/etc/portcullis/policies/filesystem.toml', '/etc/portcullis/proxy.toml',
  '/etc/portcullis/tls/tls.crt', '/run/credentials/portcullis/crm-token', '/run/credentials/portcullis/redis-url',
  '/run/credentials/portcullis/tls.key',
  '/run/secrets/portcullis/k1',
];

/** The paths a container sees, from its mounts and their volumes. */
function seen(pod, container) {
  return container.volumeMounts.flatMap(({ name, mountPath }) => {
    const { projected } = pod.volumes.find((volume) => volume.name === name);
    const items = (projected?.sources ?? []).flatMap(({ configMap, secret }) => (configMap ?? secret).items);
    return items.map((item) => path.join(mountPath, item.path));
  }).sort();
}

async function manifests(check, name, where, ...args) {
  const file = path.join(where.cwd, 'manifests.yaml');
  await check(`${name}: Kubernetes ${KUBERNETES.join(' and ')} take every manifest, without a property they do not know`, async () => {
    fs.writeFileSync(file, await printed('generate', binary, ['generate', 'k8s', '-c', where.config, ...args]));
    for (const version of KUBERNETES) {
      await printed('validate', python('kubernetes-validate'), ['--strict', '-k', version, file]);
    }
  });
  return check(`${name}: each file that is read is mounted, and nothing else`, async () => {
    const load = 'import json, sys, yaml; print(json.dumps(list(yaml.safe_load_all(open(sys.argv[1])))))';
    const all = JSON.parse(await printed('yaml', python('python'), ['-c', load, file]));
    const of = (kind) => all.find((object) => object.kind === kind);
    const pod = of('Deployment').spec.template.spec;
    const container = [...(pod.initContainers ?? []), ...pod.containers].find((one) => one.name === 'portcullis');
    assert.deepEqual(seen(pod, container), READ);
    const read = (below) => fs.readFileSync(path.join(where.cwd, below), 'utf8');
    assert.deepEqual(of('ConfigMap').data, {
      'policies.crm.toml': read('policies/crm.toml'),
      'policies.filesystem.toml': read('policies/filesystem.toml'),
      'proxy.toml': read('proxy.toml'),
    });
    return { all, container, of, pod };
  });
}

/** Each expression of the dashboard, as Prometheus is asked for it. */
async function queries() {
  const { panels } = JSON.parse(await printed('generate', binary, ['generate', 'grafana']));
  const plain = (text) => text.replaceAll('$__rate_interval', '30s').replaceAll('$server', '.*');
  return panels.flatMap(({ title, targets = [] }) => targets.map(({ expr }) => ({ title, expr: plain(expr) })));
}

await suite('deploy', async (check) => {
  const beside = configured({ upstream: 'http://127.0.0.1:3001/mcp', audit: 'type = "stdout"' });
  const sidecar = await manifests(check, 'sidecar', beside, '--server-image', 'crm:1', '--replicas', '2');
  await check('sidecar: it starts first and ends last', async () => {
    assert.equal(sidecar.container.restartPolicy, 'Always');
    assert.ok(sidecar.pod.initContainers.includes(sidecar.container));
    assert.ok(sidecar.pod.containers[0].lifecycle.preStop.sleep.seconds >= 5);
  });
  const logged = 'type = "file", path = "/var/lib/portcullis/audit.jsonl"';
  const front = configured({ upstream: 'http://crm.internal:3001/mcp', audit: logged });
  const alone = await manifests(check, 'deployment', front, '--upstream-labels', 'app=crm');
  await check('deployment: the audit has a volume, and only the proxy reaches the upstream', async () => {
    assert.deepEqual(alone.of('PersistentVolumeClaim').spec.accessModes, ['ReadWriteOnce']);
    assert.ok(alone.container.volumeMounts.some(({ mountPath }) => mountPath === '/var/lib/portcullis'));
    const kept = alone.all.filter(({ kind }) => kind === 'NetworkPolicy').map(({ spec }) => [spec.podSelector.matchLabels, spec.ingress]);
    const own = { 'app.kubernetes.io/name': 'portcullis' };
    assert.deepEqual(kept[0], [own, [{ ports: [8443, 9443, 9901].map((port) => ({ port, protocol: 'TCP' })) }]]);
    assert.deepEqual(kept[1], [{ app: 'crm' }, [{ from: [{ podSelector: { matchLabels: own } }] }]]);
  });

  await check('systemd takes the unit, and finds little it could still do', async () => {
    const args = ['generate', 'systemd', '-c', front.config, '--config-at', '/etc/portcullis/proxy.toml', '--binary', binary];
    const unit = path.join(front.cwd, 'portcullis.service');
    fs.writeFileSync(unit, await printed('generate', binary, args));
    const { code, stdout, stderr } = await run('systemd-analyze', 'systemd-analyze', ['verify', '--man=no', unit]);
    // It also warns of units of this machine.
    const own = (stdout + stderr).split('\n').filter((line) => line.includes('portcullis'));
    assert.deepEqual(own, []);
    assert.equal(code, 0, stderr);
    await printed('systemd-analyze', 'systemd-analyze', ['security', '--offline=true', '--threshold=15', '--no-pager', unit]);
  });

  await check('hadolint finds nothing in the Dockerfile', async () => {
    const input = await printed('generate', binary, ['generate', 'docker']);
    const { code, stdout, stderr } = await run('hadolint', python('hadolint'), ['--failure-threshold', 'info', '-'], { input });
    assert.equal(code, 0, stdout + stderr);
  });

  const cwd = folder();
  const rules = path.join(cwd, 'rules.yml');
  fs.writeFileSync(rules, await printed('generate', binary, ['generate', 'alerts']));
  await check('promtool takes the alerts', () => printed('promtool', prometheus('promtool'), ['check', 'rules', rules]));
  await check('alerts fire when they should, and only then', async () => {
    fs.copyFileSync(path.join(import.meta.dirname, '../programs/alerts.test.yml'), path.join(cwd, 'alerts.test.yml'));
    await printed('promtool', prometheus('promtool'), ['test', 'rules', 'alerts.test.yml'], { cwd });
  });
  const asked = await queries();
  await check('promtool takes every expression of the dashboard', async () => {
    const recorded = asked.map(({ expr }, at) => ({ record: `shown:${at}`, expr }));
    const file = path.join(cwd, 'dashboard.json');
    fs.writeFileSync(file, JSON.stringify({ groups: [{ name: 'dashboard', rules: recorded }] }));
    await printed('promtool', prometheus('promtool'), ['check', 'rules', file]);
  });

  const shown = await demo();
  const port = await freePort();
  fs.writeFileSync(path.join(cwd, 'prometheus.yml'), JSON.stringify({
    global: { scrape_interval: '1s', evaluation_interval: '1s' },
    rule_files: [rules],
    scrape_configs: [{ job_name: 'portcullis', static_configs: [{ targets: [new URL(shown.admin).host] }] }],
  }));
  await start('prometheus', prometheus('prometheus'), [
    '--config.file=prometheus.yml', '--storage.tsdb.path=data', `--web.listen-address=127.0.0.1:${port}`,
  ], { cwd, ready: /ready to receive web requests/ });
  const ask = async (what) => {
    const response = await fetch(`http://127.0.0.1:${port}/api/v1/${what}`);
    const answer = await response.json();
    assert.equal(answer.status, 'success', JSON.stringify(answer));
    return answer.data;
  };
  const value = async (expr) => (await ask(`query?query=${encodeURIComponent(expr)}`)).result;
  const token = await shown.mint('ana');
  await check('Prometheus reads the metrics of a running proxy, and the dashboard has what it shows', async () => {
    // What does not happen in the demo: a limit that refuses, programs, tokens for upstreams, signals, traces and so on.
    const silent = /rate_limited|processes|token_requests|dropped|signals|spans|upstream_errors|streams|certificate|mask|state_|refused|audit_files/;
    const missing = new Set(asked.map(({ expr }) => expr).filter((expr) => !silent.test(expr)));
    await until('every panel has lines', async () => {
      await call(shown.mcp_url, token);
      await call(shown.mcp_url, 'no token');
      await fetch(shown.mcp_url, {
        method: 'POST',
        headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json', accept: 'application/json, text/event-stream', 'mcp-protocol-version': '2025-11-25' },
        body: JSON.stringify({ jsonrpc: '2.0', id: 2, method: 'tools/call', params: { name: 'get_contact', arguments: { id: 'c-001' } } }),
      }).then((response) => response.text());
      for (const expr of missing) if ((await value(expr)).length > 0) missing.delete(expr);
      if (missing.size > 0) throw new Error([...missing].join('\n'));
      return true;
    }, 50_000);
    for (const { expr } of asked) await value(expr);
  });
  await check('Prometheus has loaded each alert, and none of them fails', async () => {
    const { groups } = await ask('rules');
    assert.equal(groups[0].rules.length, fs.readFileSync(rules, 'utf8').match(/- alert: /g).length);
    assert.deepEqual(groups[0].rules.filter(({ health }) => health !== 'ok'), []);
  });
});
