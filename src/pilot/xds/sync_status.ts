/** How far each proxy has come, in the words of `istioctl proxy-status`. */
import type { TypeStatus } from '#xds/server/server.ts';
import { shortTypeName, typeUrls } from '#xds/type_url.ts';
import { type Connection, proxyName } from './connection.ts';

/**
 * `SYNCED`: the last response is accepted. `STALE`: no answer yet. `NOT SENT`: nothing was sent, because there is nothing.
 * `ERROR`: the last response was refused. `IGNORED`: the proxy does not ask for the type.
 */
export type SyncState = 'SYNCED' | 'STALE' | 'NOT SENT' | 'ERROR' | 'IGNORED';

/** State of one type of one proxy. */
export interface TypeSync {
  /** `CDS`, `LDS`, ... */
  readonly type: string;
  readonly state: SyncState;
  readonly sentNonce: string;
  readonly ackedNonce: string;
  readonly version: string;
  /** Milliseconds since the epoch of the last response; 0: none. */
  readonly sentAt: number;
  /** Milliseconds since the epoch of the last acceptance; 0: none. */
  readonly ackedAt: number;
  /** Words of the proxy, or of our own failure, for `ERROR`. */
  readonly detail?: string;
}

/** State of one proxy. */
export interface ProxySync {
  /** `pod.namespace`. */
  readonly name: string;
  readonly connectionId: string;
  readonly clusterId: string;
  readonly version: string;
  /** ERROR or STALE if any type is; NOT SENT while clusters or listeners are; else SYNCED. */
  readonly summary: SyncState;
  readonly types: readonly TypeSync[];
  readonly connectedAt: number;
  readonly sentGeneration: number;
  readonly liveGeneration: number;
}

/** Types in every table, asked for or not. */
const tableTypes = [typeUrls.cds, typeUrls.lds, typeUrls.eds, typeUrls.rds, typeUrls.ecds] as const;

function stateOf({ sent, acked, nacked, wildcard, names }: TypeStatus): SyncState {
  if (nacked !== undefined) return 'ERROR';
  if (sent === undefined) return wildcard || names > 0 ? 'NOT SENT' : 'IGNORED';
  return acked?.nonce === sent.nonce ? 'SYNCED' : 'STALE';
}

function typeSync(status: TypeStatus, failure: string | undefined): TypeSync {
  const { typeUrl, sent, acked, nacked } = status;
  const detail = failure ?? nacked?.detail;
  return {
    type: shortTypeName(typeUrl),
    state: failure === undefined ? stateOf(status) : 'ERROR',
    sentNonce: sent?.nonce ?? '',
    ackedNonce: acked?.nonce ?? '',
    version: sent?.version ?? '',
    sentAt: sent?.at ?? 0,
    ackedAt: acked?.at ?? 0,
    ...(detail === undefined ? {} : { detail }),
  };
}

/** Types without which a proxy does nothing. */
const essential: ReadonlySet<string> = new Set(['CDS', 'LDS']);

function summarize(types: readonly TypeSync[]): SyncState {
  const states = new Set(types.map(({ state }) => state));
  for (const state of ['ERROR', 'STALE'] as const) if (states.has(state)) return state;
  const waiting = types.some(({ type, state }) => essential.has(type) && state !== 'SYNCED');
  return waiting ? 'NOT SENT' : 'SYNCED';
}

/** State of a proxy from the protocol server's record. */
export function proxySync(connection: Connection, statuses: readonly TypeStatus[]): ProxySync {
  const asked = new Set(statuses.map(({ typeUrl }) => typeUrl));
  const unasked = tableTypes
    .filter((typeUrl) => !asked.has(typeUrl))
    .map((typeUrl) => ({
      typeUrl,
      sent: undefined,
      acked: undefined,
      nacked: undefined,
      wildcard: false,
      names: 0,
    }));
  const types = [...statuses, ...unasked].map((status) =>
    typeSync(status, connection.failures.get(status.typeUrl)),
  );
  const version = connection.proxy.metadata['ISTIO_VERSION'];
  return {
    name: proxyName(connection.proxy),
    connectionId: connection.id,
    clusterId: connection.proxy.clusterId,
    version: typeof version === 'string' ? version : '',
    summary: summarize(types),
    types,
    connectedAt: connection.connectedAt,
    sentGeneration: connection.sentGeneration,
    liveGeneration: connection.liveGeneration,
  };
}
