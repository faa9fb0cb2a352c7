/** Annotations of a pod that injection reads, and what each may hold. A wrong value fails the pod. */
import { isIP } from 'node:net';
import { isQuantity } from './pod/quantity.ts';
import { isList, isObject } from './pod/shape.ts';

/** What is wrong with a value, or undefined when nothing is: `expected …`. */
type Check = (value: string) => string | undefined;

interface AnnotationRule {
  readonly check: Check;
  /** The installation's setting of the same meaning, for messages. */
  readonly setting?: string;
}

/** Most entries of a list. */
const maxEntries = 1000;

function expecting(expected: string, test: (value: string) => boolean): Check {
  return (value) => (test(value) ? undefined : `expected ${expected}`);
}

function entries(value: string): string[] {
  return value === '' ? [] : value.split(',').map((entry) => entry.trim());
}

function isCidr(text: string): boolean {
  const [address = '', length = '', ...rest] = text.split('/');
  const family = isIP(address);
  return (
    family !== 0 &&
    rest.length === 0 &&
    /^\d{1,3}$/.test(length) &&
    Number(length) <= (family === 4 ? 32 : 128)
  );
}

function isPort(text: string): boolean {
  return /^\d{1,5}$/.test(text) && Number(text) <= 65_535;
}

function listOf(what: string, test: (entry: string) => boolean, wildcard: boolean): Check {
  const expected = `expected ${wildcard ? '* or ' : ''}a list of ${what} with commas`;
  return (value) => {
    if (wildcard && value === '*') return undefined;
    const list = entries(value);
    if (list.length > maxEntries) return `expected at most ${maxEntries} entries`;
    const wrong = list.find((entry) => !test(entry));
    return wrong === undefined ? undefined : `${expected}, found ${JSON.stringify(wrong)}`;
  };
}

const cidrs = (wildcard: boolean): Check => listOf('IP ranges as 10.0.0.0/8', isCidr, wildcard);
const ports = (wildcard: boolean): Check => listOf('ports from 0 to 65535', isPort, wildcard);
/** Names of network devices, by Linux's rule. */
const interfaces = listOf(
  'network interfaces (1 to 15 characters, no blank, no slash)',
  (entry) => /^[^\s/:]{1,15}$/.test(entry) && entry !== '.' && entry !== '..',
  false,
);
const uint = expecting(
  'a whole number from 0 to 4294967295',
  (value) => /^\d{1,10}$/.test(value) && Number(value) <= 4_294_967_295,
);
const port = expecting('a port from 0 to 65535', isPort);
const quantity = expecting('a quantity such as 100m, 2 or 1Gi', isQuantity);
/** As Go reads booleans. */
const bool = expecting('true or false', (value) =>
  /^(?:1|t|T|TRUE|true|True|0|f|F|FALSE|false|False)$/.test(value),
);
const mode = expecting('REDIRECT, TPROXY or NONE', (value) => /^(?:REDIRECT|TPROXY|NONE)$/.test(value));
const line = expecting('text without control characters', (value) => !/[\u0000-\u001f\u007f]/.test(value));
const name = expecting('the name of a ConfigMap', (value) =>
  /^[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?$/.test(value),
);

const jsonObjects: Check = (value) => {
  try {
    const parsed: unknown = value === '' ? {} : JSON.parse(value);
    if (isObject(parsed) && Object.values(parsed).every((item) => isObject(item))) return undefined;
    const named = (item: unknown): boolean => isObject(item) && typeof item['name'] === 'string';
    if (isList(parsed) && parsed.every(named)) return undefined;
  } catch {
    // Told below.
  }
  return 'expected a JSON object of objects by name, or a list of objects with names';
};

const traffic = 'traffic.sidecar.istio.io';
const readiness = 'readiness.status.sidecar.istio.io';

/** Every annotation with a rule. */
const rules: ReadonlyMap<string, AnnotationRule> = new Map<string, AnnotationRule>([
  [`${traffic}/includeOutboundIPRanges`, { check: cidrs(true), setting: 'includeIPRanges' }],
  [`${traffic}/excludeOutboundIPRanges`, { check: cidrs(false), setting: 'excludeIPRanges' }],
  [`${traffic}/includeInboundPorts`, { check: ports(true), setting: 'includeInboundPorts' }],
  [`${traffic}/excludeInboundPorts`, { check: ports(false), setting: 'excludeInboundPorts' }],
  [`${traffic}/includeOutboundPorts`, { check: ports(true), setting: 'includeOutboundPorts' }],
  [`${traffic}/excludeOutboundPorts`, { check: ports(false), setting: 'excludeOutboundPorts' }],
  [`${traffic}/excludeInterfaces`, { check: interfaces }],
  [`${traffic}/kubevirtInterfaces`, { check: interfaces }],
  ['istio.io/reroute-virtual-interfaces', { check: interfaces }],
  ['status.sidecar.istio.io/port', { check: port, setting: 'statusPort' }],
  [`${readiness}/initialDelaySeconds`, { check: uint, setting: 'readinessInitialDelaySeconds' }],
  [`${readiness}/periodSeconds`, { check: uint, setting: 'readinessPeriodSeconds' }],
  [`${readiness}/failureThreshold`, { check: uint, setting: 'readinessFailureThreshold' }],
  [`${readiness}/applicationPorts`, { check: ports(false) }],
  ['sidecar.istio.io/proxyCPU', { check: quantity }],
  ['sidecar.istio.io/proxyMemory', { check: quantity }],
  ['sidecar.istio.io/proxyCPULimit', { check: quantity }],
  ['sidecar.istio.io/proxyMemoryLimit', { check: quantity }],
  ['sidecar.istio.io/interceptionMode', { check: mode, setting: 'interceptionMode' }],
  ['sidecar.istio.io/rewriteAppHTTPProbers', { check: bool, setting: 'rewriteAppHTTPProbe' }],
  ['sidecar.istio.io/capNetBindService', { check: bool }],
  ['sidecar.istio.io/nativeSidecar', { check: bool }],
  ['sidecar.istio.io/enableCoreDump', { check: bool }],
  ['prometheus.istio.io/merge-metrics', { check: bool, setting: 'enablePrometheusMerge' }],
  ['sidecar.istio.io/userVolume', { check: jsonObjects }],
  ['sidecar.istio.io/userVolumeMount', { check: jsonObjects }],
  ['sidecar.istio.io/bootstrapOverride', { check: name }],
  ['sidecar.istio.io/proxyImage', { check: line }],
  ['sidecar.istio.io/proxyImageType', { check: line }],
  ['sidecar.istio.io/logLevel', { check: line }],
  ['sidecar.istio.io/componentLogLevel', { check: line }],
  ['sidecar.istio.io/agentLogLevel', { check: line }],
]);

/** Longest part of a value in a message. */
const maxShown = 100;

/** What is wrong with a pod's annotations: each with the annotation, its value and what is allowed. */
export function checkAnnotations(annotations: Readonly<Record<string, string>>): string[] {
  const errors: string[] = [];
  for (const [annotation, value] of Object.entries(annotations)) {
    const rule = rules.get(annotation);
    const problem = rule?.check(value);
    if (rule === undefined || problem === undefined) continue;
    const setting = rule.setting === undefined ? '' : ` (${rule.setting})`;
    errors.push(
      `annotation ${annotation}${setting}: ${JSON.stringify(value.slice(0, maxShown))}: ${problem}`,
    );
  }
  return errors;
}

/** As Go reads booleans; undefined for other text. */
export function parseBool(value: string | undefined): boolean | undefined {
  if (value === undefined || bool(value) !== undefined) return undefined;
  return /^(?:1|t|T|TRUE|true|True)$/.test(value);
}
