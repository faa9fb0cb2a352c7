/**
 * The configuration in use as JSON (envoy.admin.v3.ConfigDump). Runs in a thread of its own that ends with the dump: it
 * loads every generated type, which the proxy itself must not hold.
 */
import { type DescMessage, type JsonObject, create, fromBinary, toJson } from '@bufbuild/protobuf';
import {
  type Any,
  AnySchema,
  type Timestamp,
  anyPack,
  anyUnpack,
  timestampFromMs,
} from '@bufbuild/protobuf/wkt';
import {
  BootstrapConfigDumpSchema,
  SecretsConfigDumpSchema,
} from '#api/gen/envoy/admin/v3/config_dump_pb.ts';
import {
  ClustersConfigDumpSchema,
  EndpointsConfigDumpSchema,
  ListenersConfigDumpSchema,
  RoutesConfigDumpSchema,
} from '#api/gen/envoy/admin/v3/config_dump_shared_pb.ts';
import { BootstrapSchema, type Bootstrap } from '#api/gen/envoy/config/bootstrap/v3/bootstrap_pb.ts';
import { type Cluster, ClusterSchema } from '#api/gen/envoy/config/cluster/v3/cluster_pb.ts';
import { ClusterLoadAssignmentSchema } from '#api/gen/envoy/config/endpoint/v3/endpoint_pb.ts';
import { NodeSchema } from '#api/gen/envoy/config/core/v3/base_pb.ts';
import { type Listener, ListenerSchema } from '#api/gen/envoy/config/listener/v3/listener_pb.ts';
import {
  type RouteConfiguration,
  RouteConfigurationSchema,
} from '#api/gen/envoy/config/route/v3/route_pb.ts';
import { HttpConnectionManagerSchema } from '#api/gen/envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager_pb.ts';
import { SecretSchema } from '#api/gen/envoy/extensions/transport_sockets/tls/v3/secret_pb.ts';
import { createTypeRegistry } from '#api/registry.ts';
import { typeUrls } from '#xds/type_url.ts';
import type { StoredResource, StoredType } from '../config/resource_store.ts';
import type { WarmingNames } from './proxy_state.ts';
import { compileRegex } from '../http/regex.ts';
import { applyMask, isValidPath, parseMask } from './config_mask.ts';
import type { AdminReply } from './page.ts';
import { redact } from './redact.ts';

/** What the thread is given. */
export interface DumpInput {
  readonly bootstrap: Uint8Array;
  /** envoy.config.core.v3.Node as it is told to control planes. */
  readonly node: Uint8Array;
  readonly startedMs: number;
  readonly types: readonly StoredType[];
  readonly warming: WarmingNames;
  /** `?include_eds`. */
  readonly includeEndpoints: boolean;
  /** `?resource=dynamic_listeners`. */
  readonly resource: string | undefined;
  /** `?mask=`. */
  readonly mask: string | undefined;
  /** `?name_regex=`: what the whole name must match. */
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
  };
}

/** Fields of one entry; `key` is where the resource itself stands. */
function entry(key: string, from: Dumped): Record<string, unknown> {
  const { versionInfo, lastUpdated, value, errorState } = from;
  return {
    versionInfo,
    lastUpdated,
    ...(value === undefined ? {} : { [key]: value }),
    ...(errorState === undefined ? {} : { errorState }),
  };
}

class Dump {
  readonly #input: DumpInput;
  readonly #bootstrap: Bootstrap;
  readonly #started: Timestamp;
  readonly #wants: (name: string) => boolean;

  constructor(input: DumpInput) {
    this.#input = input;
    this.#bootstrap = fromBinary(BootstrapSchema, input.bootstrap);
    this.#bootstrap.node = fromBinary(NodeSchema, input.node);
    this.#wants = nameMatcher(input.nameRegex);
    this.#started = timestampFromMs(input.startedMs);
  }

  #of(typeUrl: string): { version: string; resources: StoredResource[] } {
    const types = this.#input.types.filter((type) => type.typeUrl === typeUrl);
    return {
      version: types[0]?.version ?? '',
      resources: types
        .flatMap(({ resources }) => [...resources.values()])
        .filter(({ name }) => this.#wants(name)),
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
      staticClusters: this.#staticClusters().map((cluster) => ({
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
      staticListeners: this.#staticListeners().map((listener) => ({
        listener: anyPack(ListenerSchema, listener),
        lastUpdated: this.#started,
      })),
      dynamicListeners: resources.map((resource) => {
        const { value, versionInfo, lastUpdated, errorState } = dumped(typeUrls.lds, resource);
        const state = value === undefined ? undefined : { versionInfo, listener: value, lastUpdated };
        return {
          name: resource.name,
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

  /** Route configurations that stand inside a listener are static ones, as in Envoy. */
  routes(): JsonObject {
    const inline = this.#listeners().flatMap(({ listener, updated }) =>
      inlineRoutes(listener).map((routes) => ({ routes, updated })),
    );
    return this.#json(RoutesConfigDumpSchema, {
      staticRouteConfigs: inline
        .filter(({ routes }) => this.#wants(routes.name))
        .map(({ routes, updated }) => ({
          routeConfig: anyPack(RouteConfigurationSchema, routes),
          lastUpdated: updated,
        })),
      dynamicRouteConfigs: this.#of(typeUrls.rds).resources.map((resource) =>
        entry('routeConfig', dumped(typeUrls.rds, resource)),
      ),
    });
  }

  endpoints(): JsonObject {
    return this.#json(EndpointsConfigDumpSchema, {
      staticEndpointConfigs: this.#staticClusters().flatMap(({ loadAssignment }) =>
        loadAssignment === undefined
          ? []
          : [{ endpointConfig: anyPack(ClusterLoadAssignmentSchema, loadAssignment) }],
      ),
      dynamicEndpointConfigs: this.#of(typeUrls.eds).resources.map((resource) =>
        entry('endpointConfig', dumped(typeUrls.eds, resource)),
      ),
    });
  }

  secrets(): JsonObject {
    return this.#json(SecretsConfigDumpSchema, {
      staticSecrets: (this.#bootstrap.staticResources?.secrets ?? [])
        .filter(({ name }) => this.#wants(name))
        .map((secret) => ({ name: secret.name, secret: anyPack(SecretSchema, secret) })),
      dynamicActiveSecrets: this.#of(typeUrls.sds).resources.map((resource) => ({
        name: resource.name,
        ...entry('secret', dumped(typeUrls.sds, resource)),
      })),
    });
  }

  #staticClusters(): Cluster[] {
    return (this.#bootstrap.staticResources?.clusters ?? []).filter(({ name }) => this.#wants(name));
  }

  #staticListeners(): Listener[] {
    return (this.#bootstrap.staticResources?.listeners ?? []).filter(({ name }) => this.#wants(name));
  }

  /** Every listener there is, static and dynamic. */
  #listeners(): { readonly listener: Listener; readonly updated: Timestamp }[] {
    const statics = this.#bootstrap.staticResources?.listeners ?? [];
    const dynamic = this.#input.types.filter(({ typeUrl }) => typeUrl === typeUrls.lds);
    return [
      ...statics.map((listener) => ({ listener, updated: this.#started })),
      ...dynamic.flatMap(({ resources }) =>
        [...resources.values()].flatMap(({ bytes, updatedMs }) =>
          bytes === undefined
            ? []
            : [{ listener: fromBinary(ListenerSchema, bytes), updated: timestampFromMs(updatedMs) }],
        ),
      ),
    ];
  }

  #json(schema: DescMessage, value: Record<string, unknown>): JsonObject {
    const message = create(schema, value as never);
    const body = toJson(schema, message, { registry, useProtoFieldName: true }) as JsonObject;
    return { '@type': `type.googleapis.com/${schema.typeName}`, ...body };
  }
}

/** Route configurations of the connection managers of a listener. */
function inlineRoutes(listener: Listener): RouteConfiguration[] {
  const chains = [
    ...listener.filterChains,
    ...(listener.defaultFilterChain === undefined ? [] : [listener.defaultFilterChain]),
  ];
  return chains.flatMap(({ filters }) =>
    filters.flatMap(({ configType }) => {
      if (configType.case !== 'typedConfig') return [];
      const manager = anyUnpack(configType.value, HttpConnectionManagerSchema);
      return manager?.routeSpecifier.case === 'routeConfig' ? [manager.routeSpecifier.value] : [];
    }),
  );
}

function nameMatcher(pattern: string | undefined): (name: string) => boolean {
  if (pattern === undefined) return () => true;
  const regex = compileRegex(pattern);
  return (name) => regex.matches(name);
}

const sections = [
  BootstrapConfigDumpSchema,
  ClustersConfigDumpSchema,
  EndpointsConfigDumpSchema,
  ListenersConfigDumpSchema,
  RoutesConfigDumpSchema,
  SecretsConfigDumpSchema,
] as const satisfies readonly DescMessage[];

function schemaOf(config: JsonObject): DescMessage | undefined {
  const type = String(config['@type']);
  return sections.find(({ typeName }) => type.endsWith(`/${typeName}`));
}

function bad(body: string, status = 400): AdminReply {
  return { status, contentType: 'text/plain', body };
}

/** `?resource=`: entries of one repeated field of any section. */
function selectResource(
  configs: readonly JsonObject[],
  resource: string,
  mask: string | undefined,
): JsonObject[] | AdminReply {
  for (const config of configs) {
    const schema = schemaOf(config);
    const field = schema?.fields.find(({ name }) => name === resource);
    if (schema === undefined || field === undefined) continue;
    if (field.fieldKind !== 'list' || field.listKind !== 'message')
      return bad(`${resource} is not a repeated field. Use ?mask=${resource} to get only this field`);
    const list = (config[resource] ?? []) as JsonObject[];
    const typed = list.map((element) => ({
      '@type': `type.googleapis.com/${field.message.typeName}`,
      ...element,
    }));
    if (mask === undefined) return typed;
    const paths = parseMask(mask);
    const known = typed.every((element) => paths.every((path) => isKnown(field.message, element, path)));
    return known
      ? typed.map((element) => applyMask(element, paths))
      : bad(`FieldMask ${mask} could not be successfully used.`);
  }
  return bad(`${resource} not found in config dump`, 404);
}

/** Where the schema ends in an Any, the type of the value goes on. */
function isKnown(schema: DescMessage, value: JsonObject, path: readonly string[]): boolean {
  if (!isValidPath(schema, path)) return false;
  const [name = '', ...rest] = path;
  const inner = value[name];
  if (rest.length === 0 || typeof inner !== 'object' || inner === null || Array.isArray(inner)) return true;
  const field = schema.fields.find((one) => one.name === name);
  const type = inner['@type'];
  const next =
    typeof type === 'string' ? registry.getMessage(type.slice(type.lastIndexOf('/') + 1)) : field?.message;
  return next === undefined || isKnown(next, inner, rest);
}

/** `?mask=` alone: the sections that have all its fields. */
function maskSections(configs: readonly JsonObject[], mask: string): JsonObject[] | AdminReply {
  const paths = parseMask(mask);
  const masked = configs.filter((config) => {
    const schema = schemaOf(config);
    return schema !== undefined && paths.every((path) => isKnown(schema, config, path));
  });
  if (masked.length === 0) return bad(`FieldMask ${mask} could not be successfully applied to any configs.`);
  return masked.map((config) => applyMask(config, paths));
}

/** The page. Private keys and other secrets are replaced by `[redacted]`. */
export function dumpConfig(input: DumpInput): AdminReply {
  let dump: Dump;
  try {
    dump = new Dump(input);
  } catch (error) {
    return bad(`Error while parsing name_regex from ${input.nameRegex ?? ''}: ${(error as Error).message}`);
  }
  const configs = [
    dump.bootstrap(),
    dump.clusters(),
    ...(input.includeEndpoints ? [dump.endpoints()] : []),
    dump.listeners(),
    { '@type': 'type.googleapis.com/envoy.admin.v3.ScopedRoutesConfigDump' },
    dump.routes(),
    dump.secrets(),
  ].map((config) => redact(config) as JsonObject);
  const { resource, mask } = input;
  const shown =
    resource !== undefined
      ? selectResource(configs, resource, mask)
      : mask !== undefined
        ? maskSections(configs, mask)
        : configs;
  if (!Array.isArray(shown)) return shown;
  const body = shown.length === 0 ? {} : { configs: shown };
  return {
    status: 200,
    contentType: 'application/json',
    body: `${JSON.stringify(body, undefined, 1)}\n`,
  };
}
