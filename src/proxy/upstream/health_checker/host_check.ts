/** The health checks of one host: when the next one runs, and what their results add up to (envoy ActiveHealthCheckSession). */
import { type TimerHandle, workerTimers } from '../../network/timer_wheel.ts';
import { HealthFlag } from '../health_flags.ts';
import type { UpstreamHost } from '../host.ts';
import type { HealthEvent } from './event_log.ts';
import type { HealthCheckOptions } from './options.ts';
import type { FailureType, Probe, ProbeCallbacks } from './probe.ts';

/** Plain numbers (`cluster.<name>.health_check.*`). */
export interface HealthCheckStats {
  attempt: number;
  success: number;
  failure: number;
  networkFailure: number;
  passiveFailure: number;
}

/** What a host's checks get from their cluster. */
export interface HostCheckContext {
  readonly options: HealthCheckOptions;
  readonly stats: HealthCheckStats;
  /** The cluster has made a connection. */
  hasTraffic(): boolean;
  /** A check ended; the host's flags are up to date. */
  onResult(host: UpstreamHost): void;
  log(host: UpstreamHost, event: HealthEvent): void;
  /** Numbers in [0, 1). */
  random(): number;
}

function onInterval(check: HostCheck): void {
  check.run();
}

function onTimeout(check: HostCheck): void {
  check.onTimeout();
}

export class HostCheck implements ProbeCallbacks {
  readonly host: UpstreamHost;
  readonly #context: HostCheckContext;
  readonly #probe: Probe;
  #timer: TimerHandle | undefined = undefined;
  #timeout: TimerHandle | undefined = undefined;
  #healthyInRow = 0;
  #unhealthyInRow = 0;
  #first = true;

  constructor(
    host: UpstreamHost,
    context: HostCheckContext,
    createProbe: (callbacks: ProbeCallbacks) => Probe,
  ) {
    this.host = host;
    this.#context = context;
    this.#probe = createProbe(this);
  }

  start(): void {
    const { options, random } = this.#context;
    if (options.initialJitterMs === 0) this.run();
    else this.#timer = workerTimers.schedule(random() * options.initialJitterMs, onInterval, this);
  }

  run(): void {
    this.#timer = undefined;
    const { options, stats } = this.#context;
    stats.attempt++;
    this.#timeout = workerTimers.schedule(options.timeoutMs, onTimeout, this);
    this.#probe.run();
  }

  onTimeout(): void {
    this.#timeout = undefined;
    this.#probe.abort();
    this.onFailure('NETWORK_TIMEOUT', true);
  }

  onExcluded(excluded: boolean): void {
    this.host.setFlag(HealthFlag.excludedViaImmediateHcFail, excluded);
  }

  onSuccess(degraded: boolean): void {
    const { host } = this;
    const { options, stats } = this.#context;
    stats.success++;
    this.#unhealthyInRow = 0;
    let changed = this.#clearPending();
    // The first answer of all decides at once, so that a start is fast.
    if (
      host.has(HealthFlag.failedActiveHc) &&
      (this.#first || ++this.#healthyInRow >= options.healthyThreshold)
    ) {
      host.setFlag(HealthFlag.failedActiveHc | HealthFlag.activeHcTimeout, false);
      this.#healthyInRow = 0;
      changed = true;
      this.#log({ kind: 'add_healthy_event', firstCheck: this.#first });
    }
    if (degraded !== host.has(HealthFlag.degradedActiveHc)) {
      host.setFlag(HealthFlag.degradedActiveHc, degraded);
      changed = true;
      this.#log({ kind: degraded ? 'degraded_healthy_host' : 'no_longer_degraded_host' });
    }
    if (options.logSuccesses) this.#log({ kind: 'successful_health_check_event' });
    this.#finish(true, changed);
  }

  onFailure(type: FailureType, retriable: boolean, status = 0): void {
    const { host } = this;
    const { options, stats } = this.#context;
    stats.failure++;
    if (type !== 'ACTIVE') stats.networkFailure++;
    this.#healthyInRow = 0;
    let changed = this.#clearPending();
    if (
      !host.has(HealthFlag.failedActiveHc) &&
      // A wrong answer is enough; silence has to repeat itself.
      (!retriable || ++this.#unhealthyInRow >= options.unhealthyThreshold)
    ) {
      host.setFlag(HealthFlag.failedActiveHc, true);
      host.setFlag(HealthFlag.activeHcTimeout, type === 'NETWORK_TIMEOUT');
      this.#unhealthyInRow = 0;
      changed = true;
      this.#log({ kind: 'eject_unhealthy_event', type, status });
    }
    if (this.#first || options.logFailures)
      this.#log({ kind: 'health_check_failure_event', type, firstCheck: this.#first, status });
    this.#finish(false, changed);
  }

  #clearPending(): boolean {
    const pending = this.host.has(HealthFlag.pendingActiveHc);
    this.host.setFlag(HealthFlag.pendingActiveHc, false);
    return pending;
  }

  #log(event: HealthEvent): void {
    this.#context.log(this.host, event);
  }

  #finish(healthy: boolean, changed: boolean): void {
    this.#first = false;
    workerTimers.cancel(this.#timeout);
    this.#timeout = undefined;
    // Armed first: the result may end the checks of this host.
    this.#timer = workerTimers.schedule(this.#waitMs(healthy, changed), onInterval, this);
    this.#context.onResult(this.host);
  }

  #waitMs(healthy: boolean, changed: boolean): number {
    const { options, hasTraffic, random } = this.#context;
    const base = hasTraffic()
      ? healthy
        ? changed
          ? options.healthyEdgeIntervalMs
          : options.intervalMs
        : changed
          ? options.unhealthyEdgeIntervalMs
          : options.unhealthyIntervalMs
      : healthy
        ? options.noTrafficHealthyIntervalMs
        : options.noTrafficIntervalMs;
    const percent = (base * options.intervalJitterPercent) / 100;
    return Math.max(base + random() * percent + random() * options.intervalJitterMs, 1);
  }

  close(): void {
    workerTimers.cancel(this.#timer);
    workerTimers.cancel(this.#timeout);
    this.#timer = undefined;
    this.#timeout = undefined;
    this.#probe.close();
  }
}
