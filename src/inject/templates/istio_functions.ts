/** Istio's own functions of injection templates. */
import { appendMultusNetwork } from '../multus.ts';
import { argument, mapping, text } from '../go_template/functions/arguments.ts';
import { toJson, toYamlText } from '../go_template/functions/encoding.ts';
import { indent } from '../go_template/functions/strings.ts';
import type { TemplateFunction } from '../go_template/evaluate.ts';
import {
  type Value,
  type ValueMap,
  isArray,
  isMap,
  isRecord,
  isTrue,
  textOf,
} from '../go_template/values.ts';

function annotationsOf(meta: Value): ValueMap {
  const annotations = isRecord(meta)
    ? meta.get('Annotations')
    : isMap(meta)
      ? meta['annotations']
      : undefined;
  return isMap(annotations) ? annotations : {};
}

/** Ports with the agent's own at the end, unless it is there or 0. */
function excludeInboundPort(port: string, excluded: string): string {
  const ports = excluded.split(',').map((part) => part.trim());
  if (port === '' || port === '0' || ports.includes(port)) return excluded;
  return excluded === '' ? port : `${excluded},${port}`;
}

/** Durations of MeshConfig are text here: `45s` reads as Go prints it. */
function formatDuration(value: Value): string {
  const match = /^(\d+(?:\.\d+)?)s$/.exec(isTrue(value) ? textOf(value) : '0s');
  if (match === null) return textOf(value);
  const all = Number(match[1]);
  const [hours, minutes, seconds] = [Math.floor(all / 3600), Math.floor((all % 3600) / 60), all % 60];
  if (hours > 0) return `${hours}h${minutes}m${seconds}s`;
  return minutes > 0 ? `${minutes}m${seconds}s` : `${seconds}s`;
}

/** Ports of a list of containers. */
function portsOf(containers: Value): string[] {
  if (!isArray(containers)) return [];
  return containers
    .filter(isRecord)
    .flatMap((container) => {
      const ports = container.get('Ports');
      return isArray(ports) ? ports.filter(isRecord) : [];
    })
    .map((port) => textOf(port.get('ContainerPort')));
}

function withoutNulls(value: Value): Value {
  if (isArray(value)) return value.map(withoutNulls);
  if (!isMap(value)) return value;
  return Object.fromEntries(
    Object.entries(value)
      .filter(([, item]) => item !== null)
      .map(([key, item]) => [key, withoutNulls(item)]),
  );
}

function lines(args: readonly Value[]): string {
  return indent(Number(argument(args, 0)), text(args, 1));
}

/** By name. `env` sees nothing: templates may not read the injector's environment. */
export const istioFunctions: Readonly<Record<string, TemplateFunction>> = {
  annotation: (args) => {
    const annotations = annotationsOf(argument(args, 0));
    const name = text(args, 1);
    return Object.hasOwn(annotations, name) ? annotations[name] : text(args, 2);
  },
  isset: (args) => Object.hasOwn(mapping(args, 0), text(args, 1)),
  valueOrDefault: (args) => (isTrue(argument(args, 0)) ? args[0] : argument(args, 1)),
  excludeInboundPort: (args) => excludeInboundPort(text(args, 0), text(args, 1)),
  formatDuration: (args) => formatDuration(argument(args, 0)),
  toJSON: (args) => toJson(argument(args, 0)),
  fromJSON: (args) => JSON.parse(text(args, 0)) as Value,
  structToJSON: (args) => JSON.stringify(argument(args, 0) ?? null),
  protoToJSON: (args) => JSON.stringify(argument(args, 0) ?? null),
  toJsonMap: (args) => {
    const result: Record<string, Value> = {};
    for (let index = 0; index + 1 < args.length; index += 2)
      result[text(args, index)] = text(args, index + 1);
    return toJson(result);
  },
  strdict: (args) => {
    const result: Record<string, Value> = {};
    for (let index = 0; index < args.length; index += 2)
      result[text(args, index)] = args[index + 1] === undefined ? '' : text(args, index + 1);
    return result;
  },
  mergeMaps: (args) => Object.assign({}, ...args.map((_, index) => mapping(args, index))) as ValueMap,
  omit: (args) => {
    const names = new Set(args.slice(1).map(String));
    return Object.fromEntries(Object.entries(mapping(args, 0)).filter(([key]) => !names.has(key)));
  },
  applicationPorts: (args) => portsOf(argument(args, 0)).join(','),
  includeInboundPort: (args) => portsOf(argument(args, 0)).join(','),
  omitNil: (args) => withoutNulls(argument(args, 0)),
  toYaml: (args) => toYamlText(argument(args, 0)),
  indent: lines,
  nindent: (args) => `\n${lines(args)}`,
  directory: (args) => {
    const path = text(args, 0);
    return path.slice(0, path.lastIndexOf('/') + 1);
  },
  toLower: (args) => text(args, 0).toLowerCase(),
  contains: (args) => text(args, 1).includes(text(args, 0)),
  appendMultusNetwork: (args) => appendMultusNetwork(text(args, 0), text(args, 1)),
  env: (args) => text(args, 1),
};
