/** Options of an agent on loopback with free ports, for tests. */
import { silentLogger } from '#base/log.ts';
import type { AgentOptions } from './options.ts';

const anyPort = { address: '127.0.0.1', port: 0 };

/** A sidecar of `reviews-v1-abc` in `default` that lives below `directory`. */
export function testOptions(directory: string, changes: Partial<AgentOptions> = {}): AgentOptions {
  return {
    nodeType: 'sidecar',
    podName: 'reviews-v1-abc',
    podNamespace: 'default',
    podIps: ['127.0.0.1'],
    serviceAccount: 'bookinfo-reviews',
    trustDomain: 'cluster.local',
    domain: 'default.svc.cluster.local',
    labels: { app: 'reviews', version: 'v1' },
    annotations: {},
    proxyConfig: {
      discoveryAddress: '127.0.0.1:15012',
      concurrency: 1,
      drainDurationMs: 1000,
      terminationDrainDurationMs: 200,
      statsInclusion: {},
      json: { concurrency: 1 },
    },
    metadata: {
      WORKLOAD_NAME: 'reviews-v1',
      OWNER: 'kubernetes://apis/apps/v1/namespaces/default/deployments/reviews-v1',
    },
    identity: { rootCertPath: `${directory}/root.pem`, tokenPath: `${directory}/token` },
    discovery: { kind: 'plaintext' },
    dataPlane: { kind: 'built_in' },
    endpoints: { admin: anyPort, status: anyPort, health: anyPort, prometheus: anyPort, dns: anyPort },
    runDirectory: directory,
    version: '1.31.0',
    log: silentLogger,
    ...changes,
  };
}
