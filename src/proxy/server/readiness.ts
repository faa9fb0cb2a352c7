/** When the proxy serves: the states of Envoy's server (envoy.admin.v3.ServerInfo.State) and why it is not ready. */

import type { ServerState, WarmingNames } from '../admin/proxy_state.ts';

export class Readiness {
  /** All workers have their static resources. */
  workersStarted = false;
  /** The first response of these types was applied; true from the start when the bootstrap asks for none. */
  clustersReceived = true;
  listenersReceived = true;
  /** Objects of the first responses that still wait, by worker. */
  readonly #warming = new Map<number, WarmingNames>();
  #onWarming: (() => void)[] = [];
  draining = false;
  /** `/healthcheck/fail`. */
  failedByAdmin = false;
  /** Once live, always live: later updates warm beside what serves. */
  #live = false;

  setWarming(worker: number, names: WarmingNames): void {
    this.#warming.set(worker, names);
    for (const callback of this.#onWarming.splice(0)) callback();
  }

  /** What waits in any worker. */
  get warming(): WarmingNames {
    const clusters = new Set<string>();
    const listeners = new Set<string>();
    for (const names of this.#warming.values()) {
      for (const name of names.clusters) clusters.add(name);
      for (const name of names.listeners) listeners.add(name);
    }
    return { clusters: [...clusters], listeners: [...listeners] };
  }

  /** Resolves when no cluster waits. */
  async clustersWarm(): Promise<void> {
    while (this.warming.clusters.length > 0)
      await new Promise<void>((resolve) => this.#onWarming.push(resolve));
  }

  /** Resolves when no listener waits. */
  async listenersWarm(): Promise<void> {
    while (this.warming.listeners.length > 0)
      await new Promise<void>((resolve) => this.#onWarming.push(resolve));
  }

  get state(): ServerState {
    if (this.draining || this.failedByAdmin) return 'DRAINING';
    if (!this.#live) this.#live = this.#reason() === '';
    if (this.#live) return 'LIVE';
    return this.workersStarted ? 'INITIALIZING' : 'PRE_INITIALIZING';
  }

  /** Empty when it is ready. */
  get reason(): string {
    switch (this.state) {
      case 'LIVE':
        return '';
      case 'DRAINING':
        return this.failedByAdmin ? 'health check was failed by /healthcheck/fail' : 'the proxy drains';
      default:
        return this.#reason();
    }
  }

  #reason(): string {
    if (!this.workersStarted) return 'workers have not started';
    const { clusters, listeners } = this.warming;
    if (!this.clustersReceived) return 'config not received from the control plane: no clusters yet';
    if (clusters.length > 0)
      return `${clusters.length} clusters wait for endpoints or secrets: ${first(clusters)}`;
    if (!this.listenersReceived) return 'config not received from the control plane: no listeners yet';
    if (listeners.length > 0)
      return `${listeners.length} listeners wait for routes or secrets: ${first(listeners)}`;
    return '';
  }
}

function first(names: readonly string[]): string {
  return names.length <= 3 ? names.join(', ') : `${names.slice(0, 3).join(', ')}, ...`;
}
