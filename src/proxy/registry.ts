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

/** An extension whose code is loaded when a configuration names it: most sidecars never pay for it. */
export interface LazyExtension {
  readonly kind: ExtensionKind;
  readonly name: string;
  /** Full type URLs of the factory that `load` gives. */
  readonly typeUrls: readonly string[];
  load(): Promise<ExtensionFactory>;
}

type NamedExtension = Pick<ExtensionFactory, 'name' | 'typeUrls'>;

/**
 * What is compiled in; only `load` changes what can be found. A duplicate type URL of one kind is a programming error and
 * throws.
 */
export class ExtensionRegistry {
  readonly #byTypeUrl = new Map<string, ExtensionFactory>();
  readonly #byName = new Map<string, ExtensionFactory>();
  /** Not loaded yet, with the texts that ask for each. */
  readonly #lazy = new Map<LazyExtension, readonly Buffer[]>();

  constructor(
    lists: Readonly<Partial<Record<ExtensionKind, readonly ExtensionFactory[]>>>,
    lazy: readonly LazyExtension[] = [],
  ) {
    for (const kind of extensionKinds) for (const factory of lists[kind] ?? []) this.#add(kind, factory);
    for (const extension of lazy) {
      const types = extension.typeUrls.map((typeUrl) => typeUrl.slice(typeUrl.lastIndexOf('/') + 1));
      this.#lazy.set(
        extension,
        [extension.name, ...types].map((text) => Buffer.from(text)),
      );
    }
  }

  #add(kind: ExtensionKind, factory: ExtensionFactory): void {
    this.#byName.set(`${kind}/${factory.name}`, factory);
    for (const typeUrl of factory.typeUrls) {
      const key = `${kind}/${typeUrl}`;
      if (this.#byTypeUrl.has(key)) throw new Error(`two ${kind} extensions for ${typeUrl}`);
      this.#byTypeUrl.set(key, factory);
    }
  }

  /**
   * Loads what a resource may ask for: each extension whose name or type stands somewhere in its bytes. Undefined when
   * nothing is to be loaded.
   */
  load(resource: Uint8Array): Promise<void> | undefined {
    if (this.#lazy.size === 0) return undefined;
    const bytes = Buffer.from(resource.buffer, resource.byteOffset, resource.byteLength);
    const wanted: LazyExtension[] = [];
    for (const [extension, texts] of this.#lazy)
      if (texts.some((text) => bytes.includes(text))) wanted.push(extension);
    return wanted.length === 0 ? undefined : this.#loadAll(wanted);
  }

  async #loadAll(wanted: readonly LazyExtension[]): Promise<void> {
    const factories = await Promise.all(wanted.map((extension) => extension.load()));
    wanted.forEach((extension, i) => {
      // Two resources may have asked at the same time.
      if (this.#lazy.delete(extension)) this.#add(extension.kind, factories[i] as ExtensionFactory);
    });
  }

  /** All extensions, loaded or not: first those that are. */
  all(): { readonly kind: ExtensionKind; readonly factory: NamedExtension }[] {
    const loaded = [...this.#byName].map(([key, factory]) => ({
      kind: key.slice(0, key.indexOf('/')) as ExtensionKind,
      factory,
    }));
    return [...loaded, ...[...this.#lazy.keys()].map((factory) => ({ kind: factory.kind, factory }))];
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
