/**
 * The configuration in use as JSON (envoy.admin.v3.ConfigDump). Runs in a thread of its own that ends with the dump: it
 * loads every generated type, which the proxy itself must not hold.
 */
import {
  type DescMessage,
  type JsonObject,
  type JsonValue,
  create,
  fromBinary,
  toJson,
} from '@bufbuild/protobuf';
import { type Any, AnySchema, type Timestamp, timestampFromMs } from '@bufbuild/protobuf/wkt';
import {
  BootstrapConfigDumpSchema,
  SecretsConfigDumpSchema,
} from '#api/gen/envoy/admin/v3/config_dump_pb.ts';
import {
  ClientResourceStatus,
  ClustersConfigDumpSchema,
  EndpointsConfigDumpSchema,
  ListenersConfigDumpSchema,
  RoutesConfigDumpSchema,
} from '#api/gen/envoy/admin/v3/config_dump_shared_pb.ts';
import { BootstrapSchema, type Bootstrap } from '#api/gen/envoy/config/bootstrap/v3/bootstrap_pb.ts';
import { ClusterSchema } from '#api/gen/envoy/config/cluster/v3/cluster_pb.ts';
import { ListenerSchema } from '#api/gen/envoy/config/listener/v3/listener_pb.ts';
import { SecretSchema } from '#api/gen/envoy/extensions/transport_sockets/tls/v3/secret_pb.ts';
import { createTypeRegistry } from '#api/registry.ts';
import { typeUrls } from '#xds/type_url.ts';
import { anyPack } from '@bufbuild/protobuf/wkt';
import type { StoredResource, StoredType } from '../config/resource_store.ts';
import type { WarmingNames } from './proxy_state.ts';
import { redact } from './redact.ts';

/** What the thread is given. */
export interface DumpInput {
  readonly bootstrap: Uint8Array;
  readonly startedMs: number;
  readonly types: readonly StoredType[];
  readonly warming: WarmingNames;
  /** `?include_eds`. */
  readonly includeEndpoints: boolean;
  /** `?resource=dynamic_listeners`. */
  readonly resource: string | undefined;
  /** `?name_regex=`. */
  readonly nameRegex: string | undefined;
}

const registry = createTypeRegistry();

function any(typeUrl: string, bytes: Uint8Array): Any {
  return create(AnySchema, { typeUrl, value: bytes });
}

interface Dumped {
  readonly versionInfo: string;
  readonly lastUpdated: Timestamp;
  readonly value: Any | undefined;
  readonly errorState: object | undefined;
  readonly clientStatus: ClientResourceStatus;
}

function dumped(typeUrl: string, resource: StoredResource): Dumped {
  const { failed, bytes } = resource;
  return {
    versionInfo: resource.version,
    lastUpdated: timestampFromMs(resource.updatedMs),
    value: bytes === undefined ? undefined : any(typeUrl, bytes),
    errorState:
      failed === undefined
        ? undefined
        : {
            failedConfiguration: any(typeUrl, failed.bytes),
            lastUpdateAttempt: timestampFromMs(failed.atMs),
            details: failed.message,
            versionInfo: failed.version,
          },
    clientStatus: failed === undefined ? ClientResourceStatus.ACKED : ClientResourceStatus.NACKED,
  };
}

/** Fields of one entry; `key` is where the resource itself stands. */
function entry(key: string, from: Dumped): Record<string, unknown> {
  const { versionInfo, lastUpdated, value, errorState, clientStatus } = from;
  return {
    versionInfo,
    lastUpdated,
    clientStatus,
    ...(value === undefined ? {} : { [key]: value }),
    ...(errorState === undefined ? {} : { errorState }),
  };
}

class Dump {
  readonly #input: DumpInput;
  readonly #bootstrap: Bootstrap;
  readonly #started: Timestamp;

  constructor(input: DumpInput) {
    this.#input = input;
    this.#bootstrap = fromBinary(BootstrapSchema, input.bootstrap);
    this.#started = timestampFromMs(input.startedMs);
  }

  #of(typeUrl: string): { version: string; resources: StoredResource[] } {
    const types = this.#input.types.filter((type) => type.typeUrl === typeUrl);
    const { nameRegex } = this.#input;
    const pattern = nameRegex === undefined ? undefined : new RegExp(nameRegex);
    return {
      version: types[0]?.version ?? '',
      resources: types
        .flatMap(({ resources }) => [...resources.values()])
        .filter(({ name }) => pattern === undefined || pattern.test(name)),
    };
  }

  bootstrap(): JsonObject {
    return this.#json(BootstrapConfigDumpSchema, { bootstrap: this.#bootstrap, lastUpdated: this.#started });
  }

  clusters(): JsonObject {
    const { version, resources } = this.#of(typeUrls.cds);
    const warming = new Set(this.#input.warming.clusters);
    const list = resources.map((resource) => ({
      name: resource.name,
      fields: entry('cluster', dumped(typeUrls.cds, resource)),
    }));
    return this.#json(ClustersConfigDumpSchema, {
      versionInfo: version,
      staticClusters: (this.#bootstrap.staticResources?.clusters ?? []).map((cluster) => ({
        cluster: anyPack(ClusterSchema, cluster),
        lastUpdated: this.#started,
      })),
      dynamicActiveClusters: list.filter(({ name }) => !warming.has(name)).map(({ fields }) => fields),
      dynamicWarmingClusters: list.filter(({ name }) => warming.has(name)).map(({ fields }) => fields),
    });
  }

  listeners(): JsonObject {
    const { version, resources } = this.#of(typeUrls.lds);
    const warming = new Set(this.#input.warming.listeners);
    return this.#json(ListenersConfigDumpSchema, {
      versionInfo: version,
      staticListeners: (this.#bootstrap.staticResources?.listeners ?? []).map((listener) => ({
        listener: anyPack(ListenerSchema, listener),
        lastUpdated: this.#started,
      })),
      dynamicListeners: resources.map((resource) => {
        const { value, versionInfo, lastUpdated, errorState, clientStatus } = dumped(typeUrls.lds, resource);
        const state = value === undefined ? undefined : { versionInfo, listener: value, lastUpdated };
        return {
          name: resource.name,
          clientStatus,
          ...(state === undefined
            ? {}
            : warming.has(resource.name)
              ? { warmingState: state }
              : { activeState: state }),
          ...(errorState === undefined ? {} : { errorState }),
        };
      }),
    });
  }

  routes(): JsonObject {
    return this.#json(RoutesConfigDumpSchema, {
      dynamicRouteConfigs: this.#of(typeUrls.rds).resources.map((resource) =>
        entry('routeConfig', dumped(typeUrls.rds, resource)),
      ),
    });
  }

  endpoints(): JsonObject {
    return this.#json(EndpointsConfigDumpSchema, {
      dynamicEndpointConfigs: this.#of(typeUrls.eds).resources.map((resource) =>
        entry('endpointConfig', dumped(typeUrls.eds, resource)),
      ),
    });
  }

  secrets(): JsonObject {
    return this.#json(SecretsConfigDumpSchema, {
      staticSecrets: (this.#bootstrap.staticResources?.secrets ?? []).map((secret) => ({
        name: secret.name,
        lastUpdated: this.#started,
        secret: anyPack(SecretSchema, secret),
      })),
      dynamicActiveSecrets: this.#of(typeUrls.sds).resources.map((resource) => ({
        name: resource.name,
        ...entry('secret', dumped(typeUrls.sds, resource)),
      })),
    });
  }

  #json(schema: DescMessage, value: Record<string, unknown>): JsonObject {
    const message = create(schema, value as never);
    const body = toJson(schema, message, { registry, useProtoFieldName: true }) as JsonObject;
    return { '@type': `type.googleapis.com/${schema.typeName}`, ...body };
  }
}

/** JSON text of a dump. Private keys and other secrets are replaced by `[redacted]`. */
export function dumpConfig(input: DumpInput): string {
  const dump = new Dump(input);
  const configs = [
    dump.bootstrap(),
    dump.clusters(),
    ...(input.includeEndpoints ? [dump.endpoints()] : []),
    dump.listeners(),
    dump.routes(),
    dump.secrets(),
  ].map((config) => redact(config) as JsonObject);
  return `${JSON.stringify({ configs: select(configs, input.resource) }, undefined, 1)}\n`;
}

/** `?resource=`: entries of one repeated field of any section. */
function select(configs: readonly JsonObject[], resource: string | undefined): JsonValue[] {
  if (resource === undefined) return [...configs];
  for (const config of configs) {
    const list = config[resource];
    if (!Array.isArray(list)) continue;
    const section = String(config['@type']);
    const type = `${section}.${elementNames[resource] ?? ''}`;
    return list.map((element) => ({ '@type': type, ...(element as JsonObject) }));
  }
  return [];
}

/** Message names of the repeated fields. */
const elementNames: Readonly<Record<string, string>> = {
  static_clusters: 'StaticCluster',
  dynamic_active_clusters: 'DynamicCluster',
  dynamic_warming_clusters: 'DynamicCluster',
  static_listeners: 'StaticListener',
  dynamic_listeners: 'DynamicListener',
  dynamic_route_configs: 'DynamicRouteConfig',
  dynamic_endpoint_configs: 'DynamicEndpointConfig',
  static_secrets: 'StaticSecret',
  dynamic_active_secrets: 'DynamicSecret',
};
