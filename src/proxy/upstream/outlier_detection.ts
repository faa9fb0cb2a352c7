/** Takes hosts that fail out of the balancer for a while (envoy.config.cluster.v3.OutlierDetection). */
import type { OutlierDetection as OutlierProto } from '#api/gen/envoy/config/cluster/v3/outlier_detection_pb.ts';
import { durationMs } from '../network/duration.ts';
import { type TimerHandle, workerTimers } from '../network/timer_wheel.ts';
import type { UpstreamHost } from './host.ts';
import type { HostResult } from './upstream.ts';

interface OutlierOptions {
  readonly intervalMs: number;
  readonly baseEjectionMs: number;
  readonly maxEjectionMs: number;
  readonly maxEjectionPercent: number;
  readonly consecutive5xx: number;
  readonly enforcing5xx: number;
  readonly consecutiveGateway: number;
  readonly enforcingGateway: number;
  readonly split: boolean;
  readonly consecutiveLocal: number;
  readonly enforcingLocal: number;
  readonly alwaysEjectOne: boolean;
}

/** Plain numbers (`cluster.<name>.outlier_detection.*`). */
export interface OutlierStats {
  ejectionsActive: number;
  ejectionsEnforcedTotal: number;
  ejectionsOverflow: number;
  ejectionsDetectedConsecutive5xx: number;
  ejectionsDetectedConsecutiveGatewayFailure: number;
  ejectionsDetectedConsecutiveLocalOriginFailure: number;
}

function readOptions(proto: OutlierProto): OutlierOptions {
  const baseEjectionMs = durationMs(proto.baseEjectionTime) ?? 30_000;
  return {
    intervalMs: durationMs(proto.interval) ?? 10_000,
    baseEjectionMs,
    maxEjectionMs: Math.max(durationMs(proto.maxEjectionTime) ?? 300_000, baseEjectionMs),
    maxEjectionPercent: Math.min(proto.maxEjectionPercent ?? 10, 100),
    consecutive5xx: proto.consecutive5xx ?? 5,
    enforcing5xx: proto.enforcingConsecutive5xx ?? 100,
    consecutiveGateway: proto.consecutiveGatewayFailure ?? 5,
    enforcingGateway: proto.enforcingConsecutiveGatewayFailure ?? 0,
    split: proto.splitExternalLocalOriginErrors,
    consecutiveLocal: proto.consecutiveLocalOriginFailure ?? 5,
    enforcingLocal: proto.enforcingConsecutiveLocalOriginFailure ?? 100,
    alwaysEjectOne: proto.alwaysEjectOneHost ?? false,
  };
}

/** Watches one host. */
export class OutlierMonitor {
  readonly #detector: OutlierDetector;
  readonly host: UpstreamHost;
  /** Wheel milliseconds of the last ejection; NaN while it is not ejected. */
  ejectedAt = NaN;
  /** Grows with each ejection, shrinks with each quiet interval. */
  ejections = 0;
  #server = 0;
  #gateway = 0;
  #local = 0;

  constructor(detector: OutlierDetector, host: UpstreamHost) {
    this.#detector = detector;
    this.host = host;
  }

  report(result: HostResult): void {
    const { split } = this.#detector.options;
    switch (result.kind) {
      case 'http':
        if (split) {
          // An answer means that the connection worked; what it says counts apart.
          if (result.localOrigin) {
            this.#localFailure();
            return;
          }
          this.#local = 0;
        }
        this.#status(result.status);
        return;
      case 'connect_success':
        if (split) this.#local = 0;
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

  #status(status: number): void {
    if (status < 500) {
      this.#server = 0;
      this.#gateway = 0;
      return;
    }
    const { options, stats } = this.#detector;
    if (status >= 502 && status <= 504) {
      if (++this.#gateway === options.consecutiveGateway) {
        stats.ejectionsDetectedConsecutiveGatewayFailure++;
        this.#detector.eject(this, options.enforcingGateway);
        this.#gateway = 0;
      }
    } else this.#gateway = 0;
    if (++this.#server === options.consecutive5xx) {
      stats.ejectionsDetectedConsecutive5xx++;
      this.#detector.eject(this, options.enforcing5xx);
      this.#server = 0;
    }
  }

  #localFailure(): void {
    const { options, stats } = this.#detector;
    if (++this.#local < options.consecutiveLocal) return;
    this.#local = 0;
    stats.ejectionsDetectedConsecutiveLocalOriginFailure++;
    this.#detector.eject(this, options.enforcingLocal);
  }

  reset(): void {
    this.#server = 0;
    this.#gateway = 0;
    this.#local = 0;
  }
}

function onInterval(detector: OutlierDetector): void {
  detector.sweep();
}

/** Watches the hosts of one cluster of one worker. */
export class OutlierDetector {
  readonly options: OutlierOptions;
  readonly stats: OutlierStats = {
    ejectionsActive: 0,
    ejectionsEnforcedTotal: 0,
    ejectionsOverflow: 0,
    ejectionsDetectedConsecutive5xx: 0,
    ejectionsDetectedConsecutiveGatewayFailure: 0,
    ejectionsDetectedConsecutiveLocalOriginFailure: 0,
  };
  readonly #monitors = new Set<OutlierMonitor>();
  readonly #onChange: () => void;
  #timer: TimerHandle | undefined = undefined;

  /** @param onChange called after a host was ejected or came back. */
  constructor(proto: OutlierProto, onChange: () => void) {
    this.options = readOptions(proto);
    this.#onChange = onChange;
  }

  add(host: UpstreamHost): void {
    const monitor = new OutlierMonitor(this, host);
    host.monitor = monitor;
    this.#monitors.add(monitor);
  }

  remove(host: UpstreamHost): void {
    const { monitor } = host;
    if (monitor === undefined) return;
    host.monitor = undefined;
    this.#monitors.delete(monitor);
    if (host.ejected) this.stats.ejectionsActive--;
  }

  eject(monitor: OutlierMonitor, enforcingPercent: number): void {
    if (monitor.host.ejected) return;
    if (enforcingPercent < 100 && Math.random() * 100 >= enforcingPercent) return;
    const { stats, options } = this;
    // Envoy 1.40: the share after this ejection may reach the bound, and the first host has no privilege.
    const share = ((stats.ejectionsActive + 1) * 100) / this.#monitors.size;
    if (share > options.maxEjectionPercent && !(options.alwaysEjectOne && stats.ejectionsActive === 0)) {
      stats.ejectionsOverflow++;
      return;
    }
    stats.ejectionsActive++;
    stats.ejectionsEnforcedTotal++;
    monitor.ejectedAt = workerTimers.now();
    monitor.ejections++;
    monitor.host.ejected = true;
    if (monitor.host.refreshHealth()) this.#onChange();
    this.#timer ??= workerTimers.schedule(options.intervalMs, onInterval, this);
  }

  /** Brings hosts back whose time is over; runs each interval while hosts are out or remember ejections. */
  sweep(): void {
    this.#timer = undefined;
    const now = workerTimers.now();
    let changed = false;
    let open = false;
    for (const monitor of this.#monitors) {
      if (!monitor.host.ejected) {
        if (monitor.ejections > 0) monitor.ejections--;
        open ||= monitor.ejections > 0;
        continue;
      }
      const { baseEjectionMs, maxEjectionMs, intervalMs } = this.options;
      const wait = Math.min(baseEjectionMs * monitor.ejections, maxEjectionMs);
      // The wheel fires a little late: half an interval of slack keeps whole intervals whole.
      if (now - monitor.ejectedAt + Math.min(intervalMs, 20) / 2 < wait) {
        open = true;
        continue;
      }
      monitor.host.ejected = false;
      monitor.ejectedAt = NaN;
      monitor.reset();
      this.stats.ejectionsActive--;
      changed = monitor.host.refreshHealth() || changed;
      open = true;
    }
    if (open) this.#timer = workerTimers.schedule(this.options.intervalMs, onInterval, this);
    if (changed) this.#onChange();
  }

  close(): void {
    workerTimers.cancel(this.#timer);
    this.#timer = undefined;
    for (const monitor of this.#monitors) monitor.host.monitor = undefined;
    this.#monitors.clear();
  }
}
