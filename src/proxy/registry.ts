/**
 * Extension factories by kind and type URL. Only `extensions.ts` fills a registry, so that what is compiled in stands in
 * one list; everything else looks factories up here.
 */

/** Kinds of extensions, named as Envoy's categories. */
export const extensionKinds = [
  'listener_filter',
  'network_filter',
  'http_filter',
  'transport_socket.downstream',
  'transport_socket.upstream',
  'load_balancing_policy',
  'access_logger',
  'access_log_filter',
  'retry_host_predicate',
  'retry_priority',
  'request_id',
  'tracer',
  'upstream_options',
  'formatter',
] as const;
export type ExtensionKind = (typeof extensionKinds)[number];

/** A factory of any kind; the look-up functions of each kind narrow it. */
export interface ExtensionFactory {
  /** Envoy's extension name (`envoy.filters.http.router`). */
  readonly name: string;
  /** Full type URLs of its configuration; the inner type URL when it travels as TypedStruct. */
  readonly typeUrls: readonly string[];
  /** True when it reads a configuration that came as TypedStruct (`TypedConfig.struct`). Default false. */
  readonly readsStruct?: boolean;
}

/** Immutable after construction. A duplicate type URL of one kind is a programming error and throws. */
export class ExtensionRegistry {
  readonly #byTypeUrl = new Map<string, ExtensionFactory>();
  readonly #byName = new Map<string, ExtensionFactory>();

  constructor(lists: Readonly<Partial<Record<ExtensionKind, readonly ExtensionFactory[]>>>) {
    for (const kind of extensionKinds) {
      for (const factory of lists[kind] ?? []) {
        this.#byName.set(`${kind}/${factory.name}`, factory);
        for (const typeUrl of factory.typeUrls) {
          const key = `${kind}/${typeUrl}`;
          if (this.#byTypeUrl.has(key)) throw new Error(`two ${kind} extensions for ${typeUrl}`);
          this.#byTypeUrl.set(key, factory);
        }
      }
    }
  }

  /** All extensions, in the order of their kinds. */
  all(): { readonly kind: ExtensionKind; readonly factory: ExtensionFactory }[] {
    return [...this.#byName].map(([key, factory]) => ({
      kind: key.slice(0, key.indexOf('/')) as ExtensionKind,
      factory,
    }));
  }

  /** By type URL; undefined when nothing is compiled in for it. */
  find(kind: ExtensionKind, typeUrl: string): ExtensionFactory | undefined {
    return this.#byTypeUrl.get(`${kind}/${typeUrl}`);
  }

  /** By Envoy's extension name: for configuration without typed_config. */
  findByName(kind: ExtensionKind, name: string): ExtensionFactory | undefined {
    return this.#byName.get(`${kind}/${name}`);
  }
}
