/** One kind of health check against one host. */
import type {
  UpstreamTransportOptions,
  UpstreamTransportSocketFactory,
} from '../../network/transport_socket.ts';
import type { Address } from '../../network/address.ts';
import type { ClientCodecFactory } from '../conn_pool/http_pool.ts';
import type { DialOptions } from '../conn_pool/dial.ts';

/** Why a check failed (envoy.data.core.v3.HealthCheckFailureType). */
export type FailureType = 'ACTIVE' | 'NETWORK' | 'NETWORK_TIMEOUT';

/** Hears the end of each check, exactly once per `run` unless it was aborted. */
export interface ProbeCallbacks {
  /** @param degraded the host asks to be taken last. */
  onSuccess(degraded: boolean): void;
  /** @param retriable the failure counts as one of several; else an answer that is wrong is enough. */
  onFailure(type: FailureType, retriable: boolean, status?: number): void;
  /** The answer says that the host takes no traffic now, or no longer says so. */
  onExcluded(excluded: boolean): void;
}

/** How a probe reaches its host. */
export interface ProbeTarget {
  readonly address: Address;
  readonly transport: UpstreamTransportSocketFactory;
  readonly transportOptions: UpstreamTransportOptions;
  readonly dial: DialOptions;
  readonly http1: ClientCodecFactory;
  readonly http2: ClientCodecFactory;
  readonly reuseConnection: boolean;
  /** `:authority` when the check names none. */
  readonly authority: string;
}

export interface Probe {
  /** Starts one check. */
  run(): void;
  /** The check took too long: nothing is heard of it. */
  abort(): void;
  /** Gives up connections. */
  close(): void;
}

/** True when all payloads stand in the data, one after the other. */
export function containsAll(data: Buffer, payloads: readonly Buffer[]): boolean {
  let at = 0;
  for (const payload of payloads) {
    const found = data.indexOf(payload, at);
    if (found < 0) return false;
    at = found + payload.length;
  }
  return true;
}
