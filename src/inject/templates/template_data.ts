/** What templates of users see: Istio's names over the same values that the built-in templates use. */
import type { InjectionContext } from '../context.ts';
import { GoRecord, type Value, type ValueMap } from '../go_template/values.ts';
import { metadataShape, podSpecShape } from '../pod/pod_shape.ts';
import { orderedJson } from '../pod/canonical.ts';
import { type Json, type JsonObject, type Shape, isList, isObject } from '../pod/shape.ts';
import { proxyImage } from '../proxy_image.ts';
import { proxyConfigText } from '../proxy_config_text.ts';

/** Go's zero value of a field that is not set. */
function zeroOf(shape: Shape): Value {
  switch (shape.kind) {
    case 'text':
      return '';
    case 'int':
      return shape.keepZero ? null : 0;
    case 'bool':
      return shape.keepZero ? null : false;
    case 'list':
      return [];
    case 'map':
      return {};
    case 'object':
      return shape.required ? new KubeRecord({}, shape) : null;
    default:
      return null;
  }
}

function wrap(value: Json | undefined, shape: Shape): Value {
  if (value === undefined || value === null) return zeroOf(shape);
  if (shape.kind === 'list' && isList(value)) return value.map((item) => wrap(item, shape.of));
  if (shape.kind === 'object' && isObject(value)) return new KubeRecord(value, shape);
  return value as Value;
}

/** An object of Kubernetes: `.Containers` reads `containers`. */
class KubeRecord extends GoRecord {
  readonly #value: JsonObject;
  readonly #shape: Shape & { readonly kind: 'object' };

  constructor(value: JsonObject, shape: Shape & { readonly kind: 'object' }) {
    super();
    this.#value = value;
    this.#shape = shape;
  }

  get(name: string): Value {
    const wanted = name.toLowerCase();
    const known = Object.entries(this.#shape.fields).find(([key]) => key.toLowerCase() === wanted);
    if (known !== undefined) return wrap(this.#value[known[0]], known[1]);
    const key = Object.keys(this.#value).find((candidate) => candidate.toLowerCase() === wanted);
    if (key === undefined) throw new Error(`cannot evaluate field ${name}: there is no such field`);
    return this.#value[key] as Value;
  }

  toJSON(): unknown {
    return JSON.parse(orderedJson(this.#value, this.#shape));
  }
}

/** A message of Istio's API: `.InterceptionMode`, `.GetTracing`; fields that are not set are nothing. */
class MessageRecord extends GoRecord {
  readonly #value: JsonObject;
  readonly #text: () => unknown;

  constructor(value: JsonObject, text: () => unknown = () => value) {
    super();
    this.#value = value;
    this.#text = text;
  }

  get(name: string): Value {
    const wanted = name.replace(/^Get(?=[A-Z])/, '').toLowerCase();
    const key = Object.keys(this.#value).find((candidate) => candidate.toLowerCase() === wanted);
    const value = key === undefined ? undefined : this.#value[key];
    // Maps of text stay maps; everything else with fields is a message.
    if (isObject(value) && key !== 'proxyMetadata' && key !== 'runtimeValues')
      return new MessageRecord(value);
    return value === undefined ? null : (value as Value);
  }

  toJSON(): unknown {
    return this.#text();
  }
}

/** A record of fixed fields. */
class FixedRecord extends GoRecord {
  readonly #fields: ValueMap;

  constructor(fields: ValueMap) {
    super();
    this.#fields = fields;
  }

  get(name: string): Value {
    if (!Object.hasOwn(this.#fields, name))
      throw new Error(`cannot evaluate field ${name}: there is no such field`);
    return this.#fields[name];
  }

  toJSON(): unknown {
    return this.#fields;
  }
}

/** The value `.` of a template. */
export function templateData(context: InjectionContext): Value {
  const { metadata, spec, owner, mesh, proxyConfig, values, rawValues } = context;
  const deployment = { ...owner, labels: {}, annotations: {} } as unknown as JsonObject;
  const config = JSON.parse(JSON.stringify(proxyConfig)) as JsonObject;
  return new FixedRecord({
    TypeMeta: new FixedRecord({ APIVersion: owner.apiVersion, Kind: owner.kind }),
    DeploymentMeta: new KubeRecord(deployment, metadataShape),
    ObjectMeta: new KubeRecord(metadata as unknown as JsonObject, metadataShape),
    Spec: new KubeRecord(spec as unknown as JsonObject, podSpecShape),
    ProxyConfig: new MessageRecord(config, () => JSON.parse(proxyConfigText(proxyConfig)) as unknown),
    MeshConfig: new MessageRecord(JSON.parse(JSON.stringify(mesh)) as JsonObject),
    Values: rawValues as ValueMap,
    Revision: context.revision,
    NativeSidecars: context.nativeSidecars,
    ProxyImage: proxyImage(values, proxyConfig.image?.imageType, metadata.annotations ?? {}),
    ProxyUID: context.proxyUid ?? null,
    ProxyGID: context.proxyGid ?? null,
    InboundTrafficPolicyMode: mesh.inboundTrafficPolicy.mode === 'LOCALHOST' ? 'localhost' : 'passthrough',
    CompliancePolicy: context.compliancePolicy ?? '',
  });
}
