/** `envoy.filters.network.connection_limit`: closes connections past a number of open ones. */
import { fromBinary } from '@bufbuild/protobuf';
import { ConnectionLimitSchema } from '#api/gen/envoy/extensions/filters/network/connection_limit/v3/connection_limit_pb.ts';
import { typeUrlOf } from '#api/type_urls.ts';
import type { Counter, Gauge } from '#telemetry/metrics.ts';
import type { NetworkFilterExtension } from '../../../factory_context.ts';
import { durationMs } from '../../../network/duration.ts';
import {
  NetworkFilterStatus,
  type NetworkReadFilter,
  type ReadFilterCallbacks,
} from '../../../network/filter.ts';
import type { CountBlock } from '../../../network/shared_counts.ts';
import { type TimerHandle, workerTimers } from '../../../network/timer_wheel.ts';

/** What the filters of one chain share. */
interface Shared {
  readonly enabled: boolean;
  readonly max: number;
  /** A connection past the limit is held for so long, so that hasty clients do not come back at once; milliseconds. */
  readonly delayMs: number;
  /** Open connections of all workers. */
  readonly open: CountBlock;
  readonly limited: Counter;
  readonly active: Gauge;
}

/** Index of the number of open connections under the name. */
const openIndex = 0;

class ConnectionLimitFilter implements NetworkReadFilter {
  readonly #shared: Shared;
  #counted = false;
  #delay: TimerHandle | undefined = undefined;

  constructor(shared: Shared) {
    this.#shared = shared;
  }

  onNewConnection(callbacks: ReadFilterCallbacks): NetworkFilterStatus {
    const { enabled, max, delayMs, open, limited, active } = this.#shared;
    if (!enabled) return NetworkFilterStatus.continue;
    active.value++;
    if (open.tryAcquire(openIndex, max)) {
      this.#counted = true;
      return NetworkFilterStatus.continue;
    }
    limited.value++;
    if (delayMs > 0) this.#delay = workerTimers.schedule(delayMs, close, callbacks);
    else close(callbacks);
    return NetworkFilterStatus.stopIteration;
  }

  onClose(): void {
    const { enabled, open, active } = this.#shared;
    workerTimers.cancel(this.#delay);
    if (!enabled) return;
    active.value--;
    if (this.#counted) open.release(openIndex);
    this.#counted = false;
  }
}

function close(callbacks: ReadFilterCallbacks): void {
  callbacks.close('over_connection_limit');
}

/** Gives up the name of a chain that is gone once its last connection is. */
const released = new FinalizationRegistry<CountBlock>((block) => block.close());

/** Largest limit, as Envoy counts. */
const mostConnections = 0x7fff_ffff;

export const connectionLimit = {
  name: 'envoy.filters.network.connection_limit',
  typeUrls: [typeUrlOf(ConnectionLimitSchema)],
  create(config, context) {
    const proto = fromBinary(ConnectionLimitSchema, config.value);
    if (proto.statPrefix === '') throw new Error('stat_prefix is missing');
    const max = proto.maxConnections ?? 0n;
    if (max < 1n) throw new Error('max_connections must be at least 1');
    const labels = { envoy_connection_limit_prefix: proto.statPrefix };
    const open = context.counts.open(`connection_limit\0${context.scope ?? ''}\0${proto.statPrefix}`);
    const shared: Shared = {
      // There is no runtime layer for it: the default decides.
      enabled: proto.runtimeEnabled?.defaultValue ?? true,
      max: max > BigInt(mostConnections) ? mostConnections : Number(max),
      delayMs: durationMs(proto.delay) ?? 0,
      open,
      limited: context.metrics.counter('envoy_connection_limit_limited_connections', labels),
      active: context.metrics.gauge('envoy_connection_limit_active_connections', labels),
    };
    released.register(shared, open);
    return { terminal: false, create: () => new ConnectionLimitFilter(shared) };
  },
} as const satisfies NetworkFilterExtension;
