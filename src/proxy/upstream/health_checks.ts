/** Active health checks of one cluster: which hosts are checked, and whether all were checked once. */
import type { Cluster } from '#api/gen/envoy/config/cluster/v3/cluster_pb.ts';
import { healthEventLine } from './health_checker/event_log.ts';
import type { ProbeEnvironment } from './health_checker/health_checker.ts';
import type { HealthCheckStats, HostCheck, HostCheckContext } from './health_checker/host_check.ts';
import { type HealthCheckOptions, readHealthChecks } from './health_checker/options.ts';
import type { UpstreamHost } from './host.ts';
import type { EventLog } from './outlier_event_log.ts';

/** What checks get from their cluster. */
export interface HealthCheckHost extends ProbeEnvironment {
  hasTraffic(): boolean;
  /** A check of the host ended. */
  onResult(host: UpstreamHost): void;
  readonly eventFile: ((path: string) => EventLog) | undefined;
}

export class HealthChecks {
  readonly stats: HealthCheckStats = {
    attempt: 0,
    success: 0,
    failure: 0,
    networkFailure: 0,
    passiveFailure: 0,
  };
  readonly options: HealthCheckOptions;
  readonly #host: HealthCheckHost;
  readonly #context: HostCheckContext;
  readonly #checks = new Map<UpstreamHost, HostCheck | undefined>();
  /** Hosts of the first set that no check has answered for; undefined before there is a set. */
  #first: Set<UpstreamHost> | undefined = undefined;
  #create: typeof import('./health_checker/health_checker.ts').createHostCheck | undefined = undefined;
  #closed = false;

  constructor(options: HealthCheckOptions, host: HealthCheckHost) {
    this.options = options;
    this.#host = host;
    const log = options.eventLogPath === '' ? undefined : host.eventFile?.(options.eventLogPath);
    const kinds = { http: 'HTTP', grpc: 'GRPC', tcp: 'TCP' } as const;
    this.#context = {
      options,
      stats: this.stats,
      hasTraffic: () => host.hasTraffic(),
      onResult: (checked) => {
        this.#first?.delete(checked);
        host.onResult(checked);
      },
      log: (about, event) =>
        log?.(healthEventLine(host.clusterName, kinds[options.check.kind], about, event, new Date())),
      random: Math.random,
    };
    void import('./health_checker/health_checker.ts').then(({ createHostCheck }) => {
      this.#create = createHostCheck;
      for (const [checked, check] of this.#checks) if (check === undefined) this.#start(checked);
    });
  }

  /** Each host that was there first has been checked: the cluster may be used. */
  get settled(): boolean {
    return this.#first !== undefined && this.#first.size === 0;
  }

  setHosts(added: readonly UpstreamHost[], removed: readonly UpstreamHost[]): void {
    const checked = added.filter((host) => host.healthCheck?.disabled !== true);
    this.#first ??= new Set(checked);
    for (const host of removed) {
      this.#checks.get(host)?.close();
      this.#checks.delete(host);
      this.#first.delete(host);
    }
    for (const host of checked) {
      this.#checks.set(host, undefined);
      this.#start(host);
    }
  }

  #start(host: UpstreamHost): void {
    if (this.#create === undefined || this.#closed) return;
    const check = this.#create(host, this.#context, this.#host);
    this.#checks.set(host, check);
    check.start();
  }

  close(): void {
    this.#closed = true;
    for (const check of this.#checks.values()) check?.close();
    this.#checks.clear();
  }
}

/** Undefined when the cluster asks for none. @throws Error with the field that is wrong. */
export function readClusterHealthChecks(config: Cluster): HealthCheckOptions | undefined {
  return readHealthChecks(config.healthChecks);
}
