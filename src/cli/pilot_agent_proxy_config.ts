/**
 * ProxyConfig as the agent sees it: `defaultConfig` of the mesh file, below `PROXY_CONFIG`, below the pod's annotation
 * `proxy.istio.io/config`. Fields under both spellings of the proto JSON mapping.
 */
import { existsSync, readFileSync } from 'node:fs';
import type { AgentProxyConfig, JsonRecord } from '#agent/options.ts';
import { UsageError } from './main.ts';

/** A flag, variable or file that cannot be used; the message names it. */
export class AgentConfigError extends UsageError {
  override name = 'AgentConfigError';
}

const annotationName = 'proxy.istio.io/config';

/** What is read of ProxyConfig beyond the part of the agent. */
export interface ReadProxyConfig {
  readonly agent: Omit<AgentProxyConfig, 'concurrency'>;
  readonly concurrency: number | undefined;
  readonly statusPort: number | undefined;
  readonly adminPort: number | undefined;
  readonly serviceCluster: string | undefined;
  readonly controlPlaneAuthPolicy: string | undefined;
  readonly proxyMetadata: Readonly<Record<string, string>>;
}

const unitMs: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };

/** Go's and protobuf's durations: `5s`, `1h30m`, `1.5s`, `500ms`. */
export function parseDurationMs(name: string, text: string): number {
  if (!/^(?:\d+(?:\.\d+)?(?:ms|s|m|h))+$/.test(text)) {
    throw new AgentConfigError(`${name}: ${JSON.stringify(text)} is no duration such as 5s`);
  }
  let total = 0;
  for (const [, count, unit = 's'] of text.matchAll(/([\d.]+)(ms|s|m|h)/g)) {
    total += Number(count) * (unitMs[unit] ?? 0);
  }
  return total;
}

function isRecord(value: unknown): value is JsonRecord {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

async function parse(name: string, text: string): Promise<JsonRecord> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    // The injector writes JSON, people write YAML; its parser is loaded only for them.
    const { parse: parseYaml, YAMLError } = await import('yaml');
    try {
      value = parseYaml(text, { version: '1.1' });
    } catch (error) {
      if (!(error instanceof YAMLError)) throw error;
      throw new AgentConfigError(`${name}: ${error.message}`);
    }
  }
  if (value === null) return {};
  if (!isRecord(value)) throw new AgentConfigError(`${name} is not an object`);
  return value;
}

function toSnake(name: string): string {
  return name.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

/** Higher layers replace fields; proxyMetadata is merged by its keys, as Istio does. */
function merge(lower: JsonRecord, higher: JsonRecord): JsonRecord {
  const merged = { ...lower, ...higher };
  const [a, b] = [lower['proxyMetadata'], higher['proxyMetadata']];
  if (isRecord(a) && isRecord(b)) merged['proxyMetadata'] = { ...a, ...b };
  return merged;
}

/** Camel case at the top level, so that layers in different spellings meet. */
function toCamelKeys(record: JsonRecord): JsonRecord {
  return Object.fromEntries(
    Object.entries(record).map(([key, value]) => [
      key.replaceAll(/_([a-z])/g, (_, letter: string) => letter.toUpperCase()),
      value,
    ]),
  );
}

/**
 * Reads all layers.
 * @throws AgentConfigError
 */
export async function readProxyConfig(
  env: Readonly<Record<string, string | undefined>>,
  annotations: Readonly<Record<string, string>>,
  meshConfigPath: string,
): Promise<ReadProxyConfig> {
  const layers: JsonRecord[] = [];
  if (meshConfigPath !== '' && existsSync(meshConfigPath)) {
    const mesh = await parse(meshConfigPath, readFileSync(meshConfigPath, 'utf8'));
    const defaults = mesh['defaultConfig'] ?? mesh['default_config'];
    if (isRecord(defaults)) layers.push(defaults);
  }
  const own = env['PROXY_CONFIG'];
  if (own !== undefined && own.trim() !== '') layers.push(await parse('PROXY_CONFIG', own));
  const annotation = annotations[annotationName];
  if (annotation !== undefined) layers.push(await parse(`annotation ${annotationName}`, annotation));
  return interpret(layers.map(toCamelKeys).reduce(merge, {}));
}

function interpret(json: JsonRecord): ReadProxyConfig {
  const text = (name: string): string | undefined => {
    const value = json[name];
    return typeof value === 'string' && value !== '' ? value : undefined;
  };
  const number = (name: string): number | undefined => {
    const value = json[name];
    if (value === undefined || value === null) return undefined;
    if (typeof value !== 'number')
      throw new AgentConfigError(`ProxyConfig ${name}: ${JSON.stringify(value)}`);
    return value === 0 && name !== 'concurrency' ? undefined : value;
  };
  const duration = (name: string, fallback: string) =>
    parseDurationMs(`ProxyConfig ${name}`, text(name) ?? fallback);
  const metadata = json['proxyMetadata'];
  const matcher = json['proxyStatsMatcher'];
  const list = (name: string): string[] => {
    const values = isRecord(matcher) ? (matcher[name] ?? matcher[toSnake(name)]) : undefined;
    return Array.isArray(values) ? values.map(String) : [];
  };
  return {
    agent: {
      discoveryAddress: text('discoveryAddress') ?? 'istiod.istio-system.svc:15012',
      drainDurationMs: duration('drainDuration', '45s'),
      terminationDrainDurationMs: duration('terminationDrainDuration', '5s'),
      statsInclusion: {
        prefixes: list('inclusionPrefixes'),
        suffixes: list('inclusionSuffixes'),
        regexps: list('inclusionRegexps'),
      },
      json,
    },
    concurrency: number('concurrency'),
    statusPort: number('statusPort'),
    adminPort: number('proxyAdminPort'),
    serviceCluster: text('serviceCluster'),
    controlPlaneAuthPolicy: text('controlPlaneAuthPolicy'),
    proxyMetadata: isRecord(metadata)
      ? Object.fromEntries(Object.entries(metadata).map(([key, value]) => [key, String(value)]))
      : {},
  };
}
