/**
 * The overload manager (envoy.config.overload.v3.OverloadManager): on the main thread, reads how full resources are and tells
 * the workers what to hold back. One log line when an action begins and when it ends.
 */
import type { OverloadManager as OverloadConfig } from '#api/gen/envoy/config/overload/v3/overload_pb.ts';
import type { Logger } from '#base/log.ts';
import type { FamilySnapshot } from '#telemetry/metrics.ts';
import { durationMs } from '../../network/duration.ts';
import type { OverloadRequest } from '../messages.ts';
import { type Action, type ActionName, memoryGuard, readActions, stateOf } from './actions.ts';
import { type Monitor, type MonitorWorld, createMonitor, memoryMonitor } from './monitors.ts';

export interface OverloadManagerOptions {
  readonly config: OverloadConfig | undefined;
  readonly world: MonitorWorld;
  readonly log: Logger;
  /** Told when what is asked of the workers changes. */
  readonly onChange: (request: OverloadRequest) => void;
  /** Workers give memory back to the system. */
  readonly shrinkHeap: () => void;
  /** Milliseconds. Default `performance.now`. */
  readonly now?: () => number;
}

/** Memory is given back at most this often: it takes tens of milliseconds. */
const shrinkIntervalMs = 10_000;

interface ActionState {
  readonly action: Action;
  value: number;
}

interface MonitorState {
  readonly monitor: Monitor;
  pressure: number;
  failedUpdates: number;
}

export class OverloadManager {
  readonly #options: OverloadManagerOptions;
  readonly #log: Logger;
  readonly #monitors: readonly MonitorState[];
  readonly #actions: readonly ActionState[];
  readonly #refreshMs: number;
  #timer: NodeJS.Timeout | undefined;
  #lastShrinkMs = -Infinity;
  #request: OverloadRequest = nothingAsked;

  /** @throws Error that names what is not implemented or bad. */
  constructor(options: OverloadManagerOptions) {
    const { config, world } = options;
    this.#options = options;
    this.#log = options.log.scope('overload');
    if (config !== undefined && config.loadshedPoints.length > 0)
      throw new Error(
        `overload_manager: load shed point ${config.loadshedPoints[0]?.name ?? ''} is not implemented`,
      );
    const monitors = (config?.resourceMonitors ?? []).map((monitor) => createMonitor(monitor, world));
    const names = new Set(monitors.map(({ name }) => name));
    if (names.size < monitors.length) throw new Error('overload_manager: duplicate resource monitor');
    let actions = readActions(config?.actions ?? [], names);
    const { memoryLimit } = world;
    if (actions.length === 0 && memoryLimit !== undefined && !names.has(memoryMonitor)) {
      monitors.push({ name: memoryMonitor, pressure: () => world.rss() / memoryLimit });
      actions = memoryGuard(memoryMonitor);
    }
    this.#monitors = monitors.map((monitor) => ({ monitor, pressure: 0, failedUpdates: 0 }));
    this.#actions = actions.map((action) => ({ action, value: 0 }));
    this.#refreshMs = Math.max(1, durationMs(config?.refreshInterval) ?? 1000);
  }

  /** What is asked of the workers now. */
  get request(): OverloadRequest {
    return this.#request;
  }

  start(): void {
    if (this.#monitors.length === 0) return;
    this.#timer = setInterval(() => this.refresh(), this.#refreshMs);
    this.#timer.unref();
  }

  close(): void {
    clearInterval(this.#timer);
  }

  /** Reads all resources and sets all actions. A resource that cannot be read keeps its pressure. */
  refresh(): void {
    for (const state of this.#monitors) {
      try {
        state.pressure = state.monitor.pressure();
      } catch (error) {
        if (state.failedUpdates++ === 0)
          this.#log.warn('resource cannot be read', { resource: state.monitor.name, error });
      }
    }
    const pressures = new Map(this.#monitors.map(({ monitor, pressure }) => [monitor.name, pressure]));
    for (const state of this.#actions) this.#set(state, stateOf(state.action, pressures), pressures);
    this.#shrink();
    this.#tell();
  }

  /** `/stats` under `overload.`. */
  families(): FamilySnapshot[] {
    const family = (name: string, type: 'counter' | 'gauge', value: number): FamilySnapshot => ({
      name: `envoy_overload_${name}`,
      type,
      help: '',
      series: [{ labels: {}, value }],
    });
    return [
      ...this.#monitors.flatMap(({ monitor, pressure, failedUpdates }) => [
        family(`${monitor.name}.pressure`, 'gauge', Math.round(pressure * 100)),
        family(`${monitor.name}.failed_updates`, 'counter', failedUpdates),
      ]),
      ...this.#actions.flatMap(({ action, value }) => [
        family(`${action.name}.active`, 'gauge', value >= 1 ? 1 : 0),
        family(`${action.name}.scale_percent`, 'gauge', Math.round(value * 100)),
      ]),
    ];
  }

  #set(state: ActionState, value: number, pressures: ReadonlyMap<string, number>): void {
    const before = state.value;
    state.value = value;
    if (before > 0 === value > 0) return;
    const fields = {
      action: state.action.name,
      pressure: [...state.action.triggers.keys()]
        .map((name) => `${name}=${(pressures.get(name) ?? 0).toFixed(3)}`)
        .join(','),
    };
    if (value > 0) this.#log.warn('overload action begins', fields);
    else this.#log.info('overload action ends', fields);
  }

  #value(name: ActionName): number {
    return this.#actions.find(({ action }) => action.name === name)?.value ?? 0;
  }

  #shrink(): void {
    if (this.#value('envoy.overload_actions.shrink_heap') < 1) return;
    const now = (this.#options.now ?? (() => performance.now()))();
    if (now - this.#lastShrinkMs < shrinkIntervalMs) return;
    this.#lastShrinkMs = now;
    this.#options.shrinkHeap();
  }

  #tell(): void {
    const request: OverloadRequest = {
      stopAcceptingRequests: this.#value('envoy.overload_actions.stop_accepting_requests'),
      disableHttpKeepalive: this.#value('envoy.overload_actions.disable_http_keepalive'),
      // Envoy: on or off, no scale.
      stopAcceptingConnections: this.#value('envoy.overload_actions.stop_accepting_connections') >= 1,
      rejectIncomingConnections: this.#value('envoy.overload_actions.reject_incoming_connections'),
    };
    const last = this.#request;
    if (
      request.stopAcceptingRequests === last.stopAcceptingRequests &&
      request.disableHttpKeepalive === last.disableHttpKeepalive &&
      request.stopAcceptingConnections === last.stopAcceptingConnections &&
      request.rejectIncomingConnections === last.rejectIncomingConnections
    )
      return;
    this.#request = request;
    this.#options.onChange(request);
  }
}

const nothingAsked: OverloadRequest = {
  stopAcceptingRequests: 0,
  disableHttpKeepalive: 0,
  stopAcceptingConnections: false,
  rejectIncomingConnections: 0,
};
