/** A cluster as the control plane uses it: its objects, its judgement of tokens, its Secrets, and who of several writes. */
import { type Logger, silentLogger } from '#base/log.ts';
import { meshConfigOf } from '#config/mesh_config/config_map.ts';
import type { EffectiveMeshConfig } from '#config/mesh_config/defaults.ts';
import { openKubeStore } from '#config/store/kube/kube_store.ts';
import { type SelectedStore, createSelectedStore } from '#config/store/kube/selected_namespaces.ts';
import type { KubeAccess } from '#kube/access.ts';
import { KubeClient } from '#kube/client.ts';
import { EventRecorder } from '#kube/event_recorder.ts';
import { LeaderElection } from '#kube/lease.ts';
import type { Authenticator } from '#security/authn/authenticator.ts';
import { reviewBy, tokenReviewAuthenticator } from '#security/authn/token_review_authenticator.ts';
import type { CaKeeper } from '#security/ca/ca_directory.ts';
import { secretKeeper } from '#security/ca/ca_secret.ts';
import type { CertificateAuthority } from '#security/ca/certificate_authority.ts';
import type { MetricsRegistry } from '#telemetry/metrics.ts';
import type { DebugPage } from './debug_pages.ts';
import { jsonPage } from './http_server.ts';
import { writeTrustBundles } from './trust_bundle.ts';

/** Names of the Leases, one per writer (Istio's names). */
export const leaseNames = {
  /** Writes ConfigMap `istio-ca-root-cert` into every namespace. */
  trustBundle: 'istio-namespace-controller-election',
  /** Renews the self-signed root. */
  authority: 'istio-root-ca-election',
} as const;

/** Which cluster, and who we are there. */
export interface ClusterOptions {
  readonly access: KubeAccess;
  /** Of the control plane. */
  readonly namespace: string;
  /** ConfigMap with the MeshConfig. Default `istio`. */
  readonly configMapName?: string;
  /** Whether Secrets are read. Default true. */
  readonly secrets?: boolean;
  /** Name of our pod: unique among the control planes. */
  readonly identity: string;
  readonly version: string;
  readonly metrics: MetricsRegistry;
  /** The MeshConfig of a source that stands before the cluster's ConfigMap; undefined when it has none. */
  readonly meshConfig?: () => EffectiveMeshConfig | undefined;
  readonly log?: Logger;
  /** Seconds; see `ReflectorOptions.watchSeconds`. */
  readonly watchSeconds?: number;
}

/** A cluster in use. */
export interface Cluster {
  readonly client: KubeClient;
  /** What the mesh reads of it, filled from the start on; `synced` when all has been read. */
  readonly store: SelectedStore;
  readonly events: EventRecorder;
  /** Keeps the authority in Secrets. */
  readonly caKeeper: CaKeeper;
  readonly pages: readonly DebugPage[];
  /** Resolves once the first full state has been read. */
  whenSynced(): Promise<void>;
  /** Proxies by their account tokens. @param audiences default `istio-ca`. */
  authenticator(trustDomain: string, audiences?: readonly string[]): Authenticator;
  /** Runs `lead` while we hold the Lease of this name; the signal ends it. */
  elect(lease: string, lead: (signal: AbortSignal) => Promise<void>): LeaderElection;
  /** Starts the writers that need the authority: trust bundles, renewal of the root. */
  startWriters(authority: CertificateAuthority): void;
  /** Gives the Leases back and stops following. */
  close(): Promise<void>;
}

function untilAborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
}

/** Starts following a cluster; answers of the server are not waited for. */
export function openCluster(options: ClusterOptions): Cluster {
  const { access, namespace, identity, metrics, configMapName = 'istio', log = silentLogger } = options;
  const client = new KubeClient({ access, userAgent: `pilot-discovery/${options.version}` });
  const events = new EventRecorder({ client, component: 'istiod', instance: identity, log });
  log.info('reading Kubernetes', { server: access.server, by: access.origin });
  const all = openKubeStore({
    client,
    namespace,
    configMapName,
    ...(options.secrets === undefined ? {} : { secrets: options.secrets }),
    metrics,
    log,
    ...(options.watchSeconds === undefined ? {} : { watchSeconds: options.watchSeconds }),
    onProblem: (problem) =>
      events.record(problem, {
        type: 'Warning',
        reason: 'InvalidConfiguration',
        message: `${problem.errors.join('; ')} (in force: ${problem.inForce})`,
      }),
  });
  const selectors = (): NonNullable<EffectiveMeshConfig['discoverySelectors']> => {
    const mesh = options.meshConfig?.() ?? meshConfigOf(all.get('ConfigMap', namespace, configMapName));
    return mesh.discoverySelectors ?? [];
  };
  const store = createSelectedStore(all, namespace, selectors);
  const elections = new Map<string, LeaderElection>();

  const cluster: Cluster = {
    client,
    store,
    events,
    caKeeper: secretKeeper({
      client,
      namespace,
      log,
      mayReplace: () => elections.get(leaseNames.authority)?.isLeader ?? false,
    }),
    pages: [
      {
        path: '/debug/kubez',
        help: 'watches of the cluster, rejected objects, leases',
        handler: () =>
          jsonPage({
            server: access.server,
            watches: all.watches(),
            rejected: all.problems(),
            leases: Object.fromEntries(
              [...elections].map(([name, { isLeader, holder }]) => [name, { isLeader, holder }]),
            ),
          }),
      },
    ],
    whenSynced: () => all.whenSynced(),
    authenticator: (trustDomain, audiences) =>
      tokenReviewAuthenticator({
        review: reviewBy(client),
        trustDomain,
        ...(audiences === undefined ? {} : { audiences }),
      }),
    elect(lease, lead) {
      const election = new LeaderElection({ client, namespace, name: lease, identity, lead, log });
      elections.set(lease, election);
      election.start();
      return election;
    },
    startWriters(authority) {
      cluster.elect(leaseNames.authority, untilAborted);
      cluster.elect(leaseNames.trustBundle, (signal) =>
        writeTrustBundles({ client, store, authority, selects: store.selects, log }, signal),
      );
    },
    async close() {
      await Promise.all([...elections.values()].map((election) => election.close()));
      store.close();
      await all.close();
      client.close();
    },
  };
  return cluster;
}
