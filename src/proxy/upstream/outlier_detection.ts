/**
 * Takes hosts that fail out of the balancer for a while (envoy.config.cluster.v3.OutlierDetection). With several workers the
 * counts of failures in a row are one for the process, and what one worker takes out the others take out too, at the latest
 * with their next answer from the host.
 */
import type { OutlierDetection as OutlierProto } from '#api/gen/envoy/config/cluster/v3/outlier_detection_pb.ts';
import { formatAddress } from '../network/address.ts';
import type { CountBlock, Counts } from '../network/shared_counts.ts';
import { type TimerHandle, workerTimers } from '../network/timer_wheel.ts';
import { HealthFlag } from './health_flags.ts';
import type { UpstreamHost } from './host.ts';
import { type EventLog, type RateDetails, eventLine } from './outlier_event_log.ts';
import {
  type EjectionType,
  type OutlierOptions,
  type OutlierStats,
  newOutlierStats,
  readOutlierOptions,
} from './outlier_options.ts';
import { type RateBucket, type RatedHost, ejectionThreshold } from './success_rate.ts';
import type { HostResult } from './upstream.ts';

// Places of the counts, of one worker or of all.
const server = 0;
const gateway = 1;
const local = 2;
/** Grows with each ejection. */
const generation = 3;

/** Watches one host. */
export class OutlierMonitor {
  readonly #detector: OutlierDetector;
  readonly host: UpstreamHost;
  /** Failures in a row, and the number of ejections. */
  readonly #counts: Int32Array;
  readonly #block: CountBlock | undefined;
  #seenGeneration: number;
  /** Wheel milliseconds of the last ejection. */
  ejectedAt = 0;
  /** Wheel milliseconds of the last ejection or return; undefined before the first. */
  lastActionAt: number | undefined = undefined;
  /** All ejections so far. */
  ejections = 0;
  /** Factor of the base time: grows with each ejection, shrinks with each quiet interval. */
  backOff = 0;
  jitterMs = 0;
  /** As above, for answers that say the host is degraded. */
  degradedAt = 0;
  degradedBackOff = 0;
  degradedJitterMs = 0;
  /** Taken out by this worker, not by another. */
  own = false;
  readonly external: RateBucket = { total: 0, success: 0 };
  readonly localOrigin: RateBucket = { total: 0, success: 0 };
  /** Percent of the last interval with enough requests; -1 for none. */
  successRate = -1;
  localOriginSuccessRate = -1;

  constructor(detector: OutlierDetector, host: UpstreamHost, block: CountBlock | undefined) {
    this.#detector = detector;
    this.host = host;
    this.#block = block;
    this.#counts = block?.words ?? new Int32Array(4);
    this.#seenGeneration = Atomics.load(this.#counts, generation);
  }

  report(result: HostResult): void {
    const { split } = this.#detector.options;
    if (this.#block !== undefined) this.adopt();
    switch (result.kind) {
      case 'http':
        if (split) {
          if (result.localOrigin) this.#localFailure();
          else {
            this.#status(result.status);
            // An answer means that the connection worked.
            this.#localSuccess();
          }
        } else this.#status(result.status);
        return;
      case 'connect_success':
        if (split) this.#localSuccess();
        else if (result.final === true) this.#status(200);
        return;
      case 'connect_failure':
      case 'connect_timeout':
        if (split) this.#localFailure();
        // Without the split a local failure counts as the status that the client would see.
        else this.#status(503);
        return;
      case 'timeout':
        if (split) this.#localFailure();
        else this.#status(504);
    }
  }

  /** Takes over that another worker took the host out. */
  adopt(): void {
    const now = Atomics.load(this.#counts, generation);
    if (now === this.#seenGeneration) return;
    this.#seenGeneration = now;
    if (!this.host.has(HealthFlag.failedOutlierCheck)) this.#detector.takeOut(this, false);
  }

  /** Tells the other workers. */
  announce(): void {
    if (this.#block !== undefined) this.#seenGeneration = Atomics.add(this.#counts, generation, 1) + 1;
  }

  #clear(index: number): void {
    if (Atomics.load(this.#counts, index) !== 0) Atomics.store(this.#counts, index, 0);
  }

  #status(status: number): void {
    const detector = this.#detector;
    detector.wake();
    this.external.total++;
    if (status < 500) {
      this.external.success++;
      this.#clear(server);
      this.#clear(gateway);
      return;
    }
    const { options } = detector;
    if (status >= 502 && status <= 504) {
      if (Atomics.add(this.#counts, gateway, 1) + 1 === options.consecutiveGateway) {
        detector.detect(this, 'CONSECUTIVE_GATEWAY_FAILURE');
        this.#clear(gateway);
      }
    } else this.#clear(gateway);
    if (Atomics.add(this.#counts, server, 1) + 1 === options.consecutive5xx) {
      detector.detect(this, 'CONSECUTIVE_5XX');
      this.#clear(server);
    }
  }

  #localSuccess(): void {
    this.#detector.wake();
    this.localOrigin.total++;
    this.localOrigin.success++;
    this.#clear(local);
  }

  #localFailure(): void {
    const detector = this.#detector;
    detector.wake();
    this.localOrigin.total++;
    if (Atomics.add(this.#counts, local, 1) + 1 !== detector.options.consecutiveLocal) return;
    detector.detect(this, 'CONSECUTIVE_LOCAL_ORIGIN_FAILURE');
    this.#clear(local);
  }

  reset(): void {
    this.#clear(server);
    this.#clear(gateway);
    this.#clear(local);
  }

  close(): void {
    this.#block?.close();
  }
}

function onInterval(detector: OutlierDetector): void {
  detector.sweep();
}

/** What a detector gets from its cluster. */
export interface DetectorContext {
  /** Called after a host was ejected or came back. */
  readonly onChange: (host: UpstreamHost) => void;
  readonly clusterName: string;
  /** Counts over all workers; undefined for one worker alone. */
  readonly shared?: Counts | undefined;
  readonly log?: EventLog | undefined;
  /** Numbers in [0, 1). Default Math.random. */
  readonly random?: () => number;
}

/** Watches the hosts of one cluster of one worker. */
export class OutlierDetector {
  readonly options: OutlierOptions;
  readonly stats: OutlierStats = newOutlierStats();
  readonly #context: DetectorContext;
  readonly #monitors = new Set<OutlierMonitor>();
  readonly #random: () => number;
  /** Hosts that are out, whoever took them out. */
  #out = 0;
  #timer: TimerHandle | undefined = undefined;

  /** @throws Error that names what is not implemented. */
  constructor(proto: OutlierProto, context: DetectorContext) {
    this.options = readOutlierOptions(proto);
    this.#context = context;
    this.#random = context.random ?? Math.random;
  }

  add(host: UpstreamHost): void {
    const { shared, clusterName } = this.#context;
    const block = shared?.open(`outlier ${clusterName} ${formatAddress(host.address)}`);
    const monitor = new OutlierMonitor(this, host, block);
    host.monitor = monitor;
    if (this.options.detectDegraded) host.onDegraded = () => this.#degrade(monitor);
    this.#monitors.add(monitor);
  }

  remove(host: UpstreamHost): void {
    const { monitor } = host;
    if (monitor === undefined) return;
    host.monitor = undefined;
    host.onDegraded = undefined;
    this.#monitors.delete(monitor);
    monitor.close();
    if (!host.has(HealthFlag.failedOutlierCheck)) return;
    this.#out--;
    if (monitor.own) this.stats.ejectionsActive--;
  }

  /** Something happened: the interval runs. */
  wake(): void {
    this.#timer ??= workerTimers.schedule(this.options.intervalMs, onInterval, this);
  }

  detect(monitor: OutlierMonitor, type: EjectionType, rate?: RateDetails): void {
    const { host } = monitor;
    if (host.has(HealthFlag.failedOutlierCheck)) return;
    const { stats, options } = this;
    stats.detected[type]++;
    if (type === 'CONSECUTIVE_5XX') stats.ejectionsConsecutive5xx++;
    if (type === 'SUCCESS_RATE') stats.ejectionsSuccessRate++;
    // Envoy 1.40: the share after this ejection may reach the bound, and the first host has no privilege.
    const share = ((this.#out + 1) * 100) / this.#monitors.size;
    if (share > options.maxEjectionPercent && !(options.alwaysEjectOne && this.#out === 0)) {
      stats.ejectionsOverflow++;
      return;
    }
    if (type === 'CONSECUTIVE_5XX' || type === 'SUCCESS_RATE') stats.ejectionsTotal++;
    const percent = options.enforcing[type];
    const enforced = percent >= 100 || this.#random() * 100 < percent;
    const sinceMs = this.#since(monitor);
    if (enforced) {
      stats.ejectionsActive++;
      stats.ejectionsEnforcedTotal++;
      stats.enforced[type]++;
      monitor.announce();
      this.takeOut(monitor, true);
    }
    this.#log(monitor, type, enforced, sinceMs, rate);
  }

  /** @param own detected by this worker. */
  takeOut(monitor: OutlierMonitor, own: boolean): void {
    const { baseEjectionMs, maxEjectionMs, jitterMs } = this.options;
    const { host } = monitor;
    this.#out++;
    monitor.own = own;
    monitor.ejectedAt = workerTimers.now();
    monitor.lastActionAt = monitor.ejectedAt;
    monitor.jitterMs = this.#random() * jitterMs;
    monitor.ejections++;
    if (monitor.backOff * baseEjectionMs < maxEjectionMs + baseEjectionMs) monitor.backOff++;
    host.setFlag(HealthFlag.failedOutlierCheck, true);
    if (host.refreshHealth()) this.#context.onChange(host);
    this.wake();
  }

  /** Takes the host last for a while. There is no bound: the host stays in use. */
  #degrade(monitor: OutlierMonitor): void {
    const { baseEjectionMs, maxEjectionMs, jitterMs } = this.options;
    const { host } = monitor;
    if (host.has(HealthFlag.failedOutlierCheck | HealthFlag.degradedOutlierDetection)) return;
    this.stats.detectedDegradation++;
    monitor.degradedAt = workerTimers.now();
    monitor.degradedJitterMs = this.#random() * jitterMs;
    if (monitor.degradedBackOff * baseEjectionMs < maxEjectionMs + baseEjectionMs) monitor.degradedBackOff++;
    host.setFlag(HealthFlag.degradedOutlierDetection, true);
    if (host.refreshHealth()) this.#context.onChange(host);
    this.#log(monitor, 'DEGRADED', true, this.#since(monitor));
    this.wake();
  }

  /** True while there is something to wait for. */
  #sweepDegraded(monitor: OutlierMonitor, now: number): boolean {
    const { host } = monitor;
    if (!host.has(HealthFlag.degradedOutlierDetection)) {
      if (monitor.degradedBackOff > 0) monitor.degradedBackOff--;
      return monitor.degradedBackOff > 0;
    }
    if (!this.#isOver(now - monitor.degradedAt, monitor.degradedBackOff, monitor.degradedJitterMs))
      return true;
    host.setFlag(HealthFlag.degradedOutlierDetection, false);
    this.#log(monitor, undefined, false, this.#since(monitor));
    if (host.refreshHealth()) this.#context.onChange(host);
    return true;
  }

  #isOver(tookMs: number, backOff: number, jitterMs: number): boolean {
    const { baseEjectionMs, maxEjectionMs, intervalMs } = this.options;
    const wait = Math.min(baseEjectionMs * backOff, maxEjectionMs) + jitterMs;
    // The wheel fires a little late: half an interval of slack keeps whole intervals whole.
    return tookMs + Math.min(intervalMs, 20) / 2 >= wait;
  }

  #since(monitor: OutlierMonitor): number | undefined {
    return monitor.lastActionAt === undefined ? undefined : workerTimers.now() - monitor.lastActionAt;
  }

  #log(
    monitor: OutlierMonitor,
    type: EjectionType | 'DEGRADED' | undefined,
    enforced: boolean,
    sinceMs: number | undefined,
    rate?: RateDetails,
  ): void {
    const { log, clusterName } = this.#context;
    const { ejections } = monitor;
    log?.(eventLine(clusterName, monitor.host, type, { ejections, enforced, sinceMs, rate }, new Date()));
  }

  /** Brings the host back; harmless when it is not out. */
  unejectHost(monitor: OutlierMonitor): void {
    const { host } = monitor;
    if (!host.has(HealthFlag.failedOutlierCheck)) return;
    const sinceMs = this.#since(monitor);
    monitor.lastActionAt = workerTimers.now();
    monitor.reset();
    this.#out--;
    if (monitor.own) {
      this.stats.ejectionsActive--;
      this.#log(monitor, undefined, false, sinceMs);
    }
    host.setFlag(HealthFlag.failedOutlierCheck, false);
    if (host.refreshHealth()) this.#context.onChange(host);
  }

  /** The end of an interval: hosts whose time is over come back, rates are compared. */
  sweep(): void {
    this.#timer = undefined;
    const now = workerTimers.now();
    const { split, detectDegraded } = this.options;
    let open = false;
    for (const monitor of this.#monitors) {
      if (detectDegraded && this.#sweepDegraded(monitor, now)) open = true;
      if (!monitor.host.has(HealthFlag.failedOutlierCheck)) {
        if (monitor.backOff > 0) monitor.backOff--;
        open ||= monitor.backOff > 0;
        continue;
      }
      open = true;
      if (this.#isOver(now - monitor.ejectedAt, monitor.backOff, monitor.jitterMs)) this.unejectHost(monitor);
    }
    if (split) this.#compareRates(true);
    this.#compareRates(false);
    // Sleeps while nothing happens: the next answer wakes it.
    if (open) this.wake();
  }

  #compareRates(localOrigin: boolean): void {
    const { options } = this;
    const { size } = this.#monitors;
    const byRate: RatedHost<OutlierMonitor>[] = [];
    const byFailures: RatedHost<OutlierMonitor>[] = [];
    for (const monitor of this.#monitors) {
      const bucket = localOrigin ? monitor.localOrigin : monitor.external;
      const { total, success } = bucket;
      bucket.total = 0;
      bucket.success = 0;
      let known = -1;
      if (total > 0 && !monitor.host.has(HealthFlag.failedOutlierCheck)) {
        const rate = (100 * success) / total;
        if (total >= Math.min(options.successRateVolume, options.failurePercentageVolume)) known = rate;
        if (total >= options.successRateVolume) byRate.push({ host: monitor, rate });
        if (total >= options.failurePercentageVolume) byFailures.push({ host: monitor, rate });
      }
      if (localOrigin) monitor.localOriginSuccessRate = known;
      else monitor.successRate = known;
    }
    if (byRate.length > 0 && size >= options.successRateHosts) {
      const rates = byRate.map(({ rate }) => rate);
      const { average, threshold } = ejectionThreshold(rates, options.stdevFactor);
      const type = localOrigin ? 'SUCCESS_RATE_LOCAL_ORIGIN' : 'SUCCESS_RATE';
      for (const { host, rate } of byRate)
        if (rate < threshold) this.detect(host, type, { hostRate: rate, averageRate: average, threshold });
    }
    if (byFailures.length === 0 || size < options.failurePercentageHosts) return;
    const type = localOrigin ? 'FAILURE_PERCENTAGE_LOCAL_ORIGIN' : 'FAILURE_PERCENTAGE';
    for (const { host, rate } of byFailures)
      if (100 - rate >= options.failurePercentage)
        this.detect(host, type, { hostRate: rate, averageRate: 0, threshold: 0 });
  }

  close(): void {
    workerTimers.cancel(this.#timer);
    this.#timer = undefined;
    for (const monitor of this.#monitors) {
      monitor.host.monitor = undefined;
      monitor.host.onDegraded = undefined;
      monitor.close();
    }
    this.#monitors.clear();
  }
}
