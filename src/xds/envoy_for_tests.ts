/** Starts real Envoy for tests, with a bootstrap that takes everything over ADS. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import type { TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { XdsProtocol } from './transport.ts';

/** What a skipped test prints. */
export const missingEnvoy = 'no Envoy: set TRYSAIL_ENVOY or put envoy on the PATH';

/** A static cluster that speaks HTTP/2 to an address (`{ socketAddress }` or `{ pipe }`). */
export function grpcCluster(name: string, address: object): object {
  const options = 'envoy.extensions.upstreams.http.v3.HttpProtocolOptions';
  return {
    name,
    type: 'STATIC',
    typedExtensionProtocolOptions: {
      [options]: {
        '@type': `type.googleapis.com/${options}`,
        explicitHttpConfig: { http2ProtocolOptions: {} },
      },
    },
    loadAssignment: { clusterName: name, endpoints: [{ lbEndpoints: [{ endpoint: { address } }] }] },
  };
}

/** JSON of a bootstrap: clusters and listeners over ADS from a port of loopback. */
export function envoyBootstrap(
  node: object,
  protocol: XdsProtocol,
  xdsPort: number,
  moreClusters: readonly object[] = [],
): string {
  const ads = { ads: {}, resourceApiVersion: 'V3' };
  return JSON.stringify({
    node,
    admin: { address: { socketAddress: { address: '127.0.0.1', portValue: 0 } } },
    dynamicResources: {
      adsConfig: {
        apiType: protocol === 'delta' ? 'DELTA_GRPC' : 'GRPC',
        transportApiVersion: 'V3',
        grpcServices: [{ envoyGrpc: { clusterName: 'xds' } }],
        setNodeOnFirstMessageOnly: true,
      },
      cdsConfig: ads,
      ldsConfig: ads,
    },
    staticResources: {
      clusters: [
        grpcCluster('xds', { socketAddress: { address: '127.0.0.1', portValue: xdsPort } }),
        ...moreClusters,
      ],
    },
  });
}

/** Starts Envoy; gives the URL of its admin server. It ends with the test. */
export async function startEnvoy(t: TestContext, path: string, config: string): Promise<string> {
  const args = ['--config-yaml', config, '--disable-hot-restart', '--concurrency', '1', '-l', 'info'];
  const child = spawn(path, args, { stdio: ['ignore', 'ignore', 'pipe'] });
  let log = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (log += text));
  const exited = new Promise((resolve) => child.once('exit', resolve));
  t.after(async () => {
    child.kill('SIGKILL');
    await exited;
  });
  const address = (): string | undefined => /admin address: (\S+)/.exec(log)?.[1];
  await until(
    () => address() !== undefined || child.exitCode !== null,
    () => log,
  );
  return `http://${address() ?? assert.fail(log)}`;
}

/** URL of the first listener, empty while there is none. */
export async function listenerUrl(admin: string): Promise<string> {
  const response = await fetch(`${admin}/listeners?format=json`);
  const { listener_statuses: statuses } = (await response.json()) as {
    listener_statuses?: { local_address: { socket_address: { port_value: number } } }[];
  };
  const port = statuses?.[0]?.local_address.socket_address.port_value;
  return port === undefined ? '' : `http://127.0.0.1:${port}/`;
}

/** A counter or gauge of Envoy's. */
export async function stat(admin: string, name: string): Promise<number> {
  const text = await (await fetch(`${admin}/stats?filter=^${name}$`)).text();
  return Number(text.split(':')[1]);
}

/** Waits up to 10 s for a condition. */
export async function until(condition: () => boolean | Promise<boolean>, what: () => string): Promise<void> {
  const end = Date.now() + 10_000;
  while (!(await condition())) {
    if (Date.now() > end) assert.fail(`timed out: ${what()}`);
    await sleep(20);
  }
}
