/**
 * Route configurations from bytes to tables, a virtual host at a time: requests have their turn between two of them, and
 * those that did not change since the last version keep their compiled form. Bench: bench/micro/push_latency.ts.
 */
import { hash } from 'node:crypto';
import { fromBinary } from '@bufbuild/protobuf';
import { VirtualHostSchema } from '#api/gen/envoy/config/route/v3/route_components_pb.ts';
import { RouteConfigurationSchema } from '#api/gen/envoy/config/route/v3/route_pb.ts';
import {
  type BuiltVirtualHost,
  type RouteBuildContext,
  type RouteTable,
  RouteTableBuilder,
  atVirtualHost,
} from '../router/route_config.ts';
import { splitVirtualHosts } from '../router/route_config_bytes.ts';
import { TimeSlice } from '#base/time_slice.ts';

/** What a table was made of. */
interface Parts {
  readonly rest: string;
  readonly builder: RouteTableBuilder;
  /** By digest of the bytes. */
  readonly virtualHosts: ReadonlyMap<string, BuiltVirtualHost>;
}

function digest(bytes: Uint8Array): string {
  return hash('sha256', bytes, 'base64');
}

export class RouteDecoder {
  readonly #context: RouteBuildContext;
  readonly #parts = new WeakMap<RouteTable, Parts>();

  constructor(context: RouteBuildContext) {
    this.#context = context;
  }

  /**
   * @param previous the table that the new one takes the place of.
   * Rejects with an Error that names the field of a bad configuration.
   */
  async decode(bytes: Uint8Array, previous: RouteTable | undefined): Promise<RouteTable> {
    const slice = new TimeSlice();
    const split = splitVirtualHosts(bytes);
    const rest = digest(split.rest);
    const known = previous === undefined ? undefined : this.#parts.get(previous);
    const same = known?.rest === rest ? known : undefined;
    const builder =
      same?.builder ?? new RouteTableBuilder(fromBinary(RouteConfigurationSchema, split.rest), this.#context);
    const virtualHosts = new Map<string, BuiltVirtualHost>();
    const inOrder: BuiltVirtualHost[] = [];
    for (const [i, own] of split.virtualHosts.entries()) {
      const key = digest(own);
      const built = same?.virtualHosts.get(key) ?? build(builder, own, i);
      virtualHosts.set(key, built);
      inOrder.push(built);
      if (slice.over) await slice.pause();
    }
    const table = builder.build(inOrder);
    this.#parts.set(table, { rest, builder, virtualHosts });
    return table;
  }
}

function build(builder: RouteTableBuilder, bytes: Uint8Array, index: number): BuiltVirtualHost {
  const host = fromBinary(VirtualHostSchema, bytes);
  try {
    return builder.virtualHost(host);
  } catch (error) {
    throw atVirtualHost(index, host.name, error);
  }
}
