/** `pilot-discovery discovery` and `proxy-status` as processes. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { create } from '@bufbuild/protobuf';
import { NodeSchema } from '#api/gen/envoy/config/core/v3/base_pb.ts';
import { AdsClient } from '#xds/client/ads_client.ts';
import { GrpcClient } from '#xds/grpc_client.ts';
import { grpcTransport } from '#xds/grpc_transport.ts';
import { typeUrls } from '#xds/type_url.ts';
import { formatProxyStatus } from './proxy_status.ts';

/** Runs a command through a one-line entry that names its factory. */
function run(module: string, factory: string, args: readonly string[], cwd: string): ChildProcess {
  const url = new URL(module, import.meta.url).href;
  const code = `import { ${factory} } from ${JSON.stringify(url)};
    await ${factory}(process.env).parseAsync(${JSON.stringify(args)}, { from: 'user' });`;
  return spawn(process.execPath, ['--input-type=module', '-e', code], {
    cwd,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
}

async function output(child: ChildProcess): Promise<{ code: number | null; stdout: string; stderr: string }> {
  let stdout = '';
  let stderr = '';
  child.stdout!.setEncoding('utf8').on('data', (text: string) => (stdout += text));
  child.stderr!.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  const code = await new Promise<number | null>((resolve) => child.once('close', resolve));
  return { code, stdout, stderr };
}

/** Waits for a field of a log line. */
async function logged(log: () => string, pattern: RegExp): Promise<string> {
  for (let i = 0; i < 500; i++) {
    const found = pattern.exec(log())?.[1];
    if (found !== undefined) return found;
    await sleep(20);
  }
  return assert.fail(`no ${String(pattern)} in:\n${log()}`);
}

function makeFolder(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'pilot-discovery-'));
  t.after(() => rmSync(folder, { recursive: true }));
  return folder;
}

const config = `
apiVersion: v1
kind: Service
metadata: { name: reviews, namespace: default }
spec:
  clusterIP: 10.96.0.1
  selector: { app: reviews }
  ports: [{ name: http, port: 9080 }]
`;

test('serves a folder, shows its proxies, stops when asked', { timeout: 30_000 }, async (t) => {
  const folder = makeFolder(t);
  writeFileSync(join(folder, 'reviews.yaml'), config);
  const args = ['discovery', '--configDir', folder, '--grpcAddr', '127.0.0.1:0', '--secureGRPCAddr', ''];
  args.push('--httpAddr', '127.0.0.1:0', '--monitoringAddr', '');
  const child = run('./pilot_discovery.ts', 'pilotDiscoveryCommand', args, folder);
  let log = '';
  child.stderr!.setEncoding('utf8').on('data', (text: string) => (log += text));
  const exited = new Promise<number | null>((resolve) => child.once('exit', resolve));
  t.after(() => child.kill('SIGKILL'));
  const port = Number(await logged(() => log, /control plane started.* plaintext=(\d+)/));
  const http = await logged(() => log, /control plane started.* http=(\d+)/);

  const client = new GrpcClient({ address: { host: '127.0.0.1', port } });
  const names: string[] = [];
  const ads = new AdsClient({
    transport: grpcTransport(client),
    protocol: 'sotw',
    node: () =>
      create(NodeSchema, {
        id: 'sidecar~10.0.0.9~web-1.default~default.svc.cluster.local',
        metadata: { NAMESPACE: 'default' },
      }),
    onUpdate: async (_typeUrl, { changed }) => void names.push(...changed.map(({ name }) => name)),
  });
  t.after(() => {
    ads.close();
    client.close();
  });
  ads.subscribe(typeUrls.cds, '*');
  ads.start();
  await logged(() => names.join('\n'), /(outbound\|9080\|\|reviews\.default\.svc\.cluster\.local)/);

  const table = await output(
    run('./proxy_status.ts', 'proxyStatusCommand', ['--debug-address', `127.0.0.1:${http}`], folder),
  );
  assert.equal(table.code, 0, table.stderr);
  assert.match(table.stdout, /^NAME +CLUSTER +CDS +LDS +EDS +RDS +ECDS +ISTIOD +VERSION\n/);
  assert.match(table.stdout, /\nweb-1\.default .*SYNCED/);

  child.kill('SIGTERM');
  assert.equal(await exited, 0, log);
});

test('wrong flags say what is wrong', { timeout: 30_000 }, async (t) => {
  const folder = makeFolder(t);
  for (const [args, message] of [
    [['discovery'], /--configDir/],
    [['discovery', '--configDir', '.', '--grpcAddr', 'nowhere'], /--grpcAddr: "nowhere"/],
    [['discovery', '--configDir', '.', '--log_output_level', 'ads:loud'], /"loud"/],
  ] as const) {
    const { code, stderr } = await output(run('./pilot_discovery.ts', 'pilotDiscoveryCommand', args, folder));
    assert.notEqual(code, 0);
    assert.match(stderr, message);
  }
});

test('the table names what proxies refused', () => {
  const none = { cluster_sent: '', cluster_acked: '', listener_sent: '', listener_acked: '', route_sent: '' };
  const rest = { route_acked: '', endpoint_sent: '', endpoint_acked: '' };
  const text = formatProxyStatus(
    [
      {
        ...none,
        ...rest,
        extensionconfig_sent: '',
        extensionconfig_acked: '',
        cluster_id: 'Kubernetes',
        proxy: 'a.b',
        proxy_version: '1',
        istio_version: '1',
        states: { CDS: 'SYNCED', LDS: 'ERROR' },
        errors: { LDS: 'in: no address' },
      },
    ],
    'localhost:8080',
  );
  assert.equal(
    text,
    [
      'NAME   CLUSTER      CDS      LDS     EDS       RDS       ECDS      ISTIOD           VERSION',
      'a.b    Kubernetes   SYNCED   ERROR   IGNORED   IGNORED   IGNORED   localhost:8080   1',
      '',
      'a.b LDS: in: no address',
      '',
    ].join('\n'),
  );
});
