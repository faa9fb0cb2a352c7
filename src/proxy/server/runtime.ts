/** Layers of runtime values (envoy.config.bootstrap.v3.LayeredRuntime): static ones, and the one that the admin changes. */
import type { JsonObject, JsonValue } from '@bufbuild/protobuf';
import type { LayeredRuntime } from '#api/gen/envoy/config/bootstrap/v3/bootstrap_pb.ts';
import type { RuntimeEntry, RuntimeState } from '../admin/proxy_state.ts';

/** Keys of the admin layer; more are refused. */
const maxAdminKeys = 1_000;

interface Layer {
  readonly name: string;
  readonly admin: boolean;
  readonly values: Map<string, string>;
}

/** Nested structs join their keys with dots, as Envoy does. Lists have no value. */
function flatten(prefix: string, value: JsonValue, into: Map<string, string>): void {
  if (value === null || Array.isArray(value)) return;
  if (typeof value !== 'object') {
    into.set(prefix, String(value));
    return;
  }
  // A FractionalPercent is one value.
  if (prefix !== '' && ('numerator' in value || 'denominator' in value)) {
    into.set(prefix, JSON.stringify(value));
    return;
  }
  for (const [key, inner] of Object.entries(value))
    flatten(prefix === '' ? key : `${prefix}.${key}`, inner, into);
}

function staticLayer(name: string, struct: JsonObject): Layer {
  const values = new Map<string, string>();
  flatten('', struct, values);
  return { name, admin: false, values };
}

export class RuntimeLayers implements RuntimeState {
  readonly #layers: readonly Layer[];
  readonly #onChange: () => void;

  /**
   * Without `layered_runtime` there is an admin layer alone.
   * @throws Error that names a layer of a kind that is not implemented (disk, RTDS).
   */
  constructor(config: LayeredRuntime | undefined, onChange: () => void) {
    this.#onChange = onChange;
    const layers = (config?.layers ?? []).map(({ name, layerSpecifier }): Layer => {
      switch (layerSpecifier.case) {
        case 'staticLayer':
          return staticLayer(name, layerSpecifier.value);
        case 'adminLayer':
          return { name, admin: true, values: new Map() };
        default:
          throw new Error(
            `layered_runtime: layer ${name}: only static_layer and admin_layer are implemented`,
          );
      }
    });
    this.#layers = layers.length === 0 ? [{ name: '', admin: true, values: new Map() }] : layers;
  }

  get layers(): readonly string[] {
    return this.#layers.map(({ name }) => name);
  }

  /** The value that counts, by key. */
  get values(): ReadonlyMap<string, string> {
    return new Map(this.#layers.flatMap(({ values }) => [...values]));
  }

  entries(): readonly RuntimeEntry[] {
    return [...this.values].map(([key, value]) => ({
      key,
      value,
      byLayer: this.#layers.map(({ values }) => values.get(key) ?? ''),
    }));
  }

  modify(values: Iterable<[string, string]>): string | undefined {
    const layer = this.#layers.findLast(({ admin }) => admin);
    if (layer === undefined) return 'No admin layer specified';
    for (const [key, value] of values) {
      if (value === '') layer.values.delete(key);
      else if (layer.values.has(key) || layer.values.size < maxAdminKeys) layer.values.set(key, value);
      else return `more than ${maxAdminKeys} keys`;
    }
    this.#onChange();
    return undefined;
  }
}
