/** The fields of a pod that the mesh reads. */
import type { Checker } from '../../schema/checker.ts';
import { isDnsLabel, isObjectName, port } from '../../schema/names.ts';
import {
  type Fields,
  type ObjectOptions,
  type Schema,
  boolean,
  integer,
  list,
  map,
  numberOrString,
  object,
  oneOf,
  string,
} from '../../schema/schema.ts';
import type { Container, ContainerPort, EnvVar, PodSpec, Probe, SecurityContext } from './types.ts';

function part<T extends object>(fields: Fields<T>, options: ObjectOptions<T> = {}): Schema<T> {
  return object<T>(fields, { ...options, open: true });
}

const keyRef = part<{ readonly name?: string; readonly key: string; readonly optional?: boolean }>(
  { name: string(), key: string(), optional: boolean },
  { required: ['key'] },
);

const env = part<EnvVar>(
  {
    name: string({
      expected: 'the name of a variable',
      code: 'invalid_name',
      test: (name) => /^[^=\0]+$/.test(name),
    }),
    value: string(),
    valueFrom: part<NonNullable<EnvVar['valueFrom']>>({
      fieldRef: part<{ readonly fieldPath: string }>({ fieldPath: string() }, { required: ['fieldPath'] }),
      configMapKeyRef: keyRef,
      secretKeyRef: keyRef,
    }),
  },
  { required: ['name'] },
);

type HttpGet = NonNullable<Probe['httpGet']>;
type Header = NonNullable<HttpGet['httpHeaders']>[number];

const seconds = integer({ min: 0 });
const probe = part<Probe>({
  httpGet: part<HttpGet>(
    {
      path: string(),
      port: numberOrString,
      host: string(),
      scheme: oneOf('HTTP', 'HTTPS'),
      httpHeaders: list(part<Header>({ name: string(), value: string() }, { required: ['name'] })),
    },
    { required: ['port'] },
  ),
  tcpSocket: part<NonNullable<Probe['tcpSocket']>>(
    { port: numberOrString, host: string() },
    { required: ['port'] },
  ),
  grpc: part<NonNullable<Probe['grpc']>>({ port, service: string() }, { required: ['port'] }),
  exec: part<NonNullable<Probe['exec']>>({ command: list(string()) }),
  initialDelaySeconds: seconds,
  timeoutSeconds: seconds,
  periodSeconds: seconds,
  successThreshold: seconds,
  failureThreshold: seconds,
});

const securityContext = part<SecurityContext>({
  runAsUser: integer({ min: 0 }),
  runAsGroup: integer({ min: 0 }),
  runAsNonRoot: boolean,
  fsGroup: integer({ min: 0 }),
});

type VolumeMount = NonNullable<Container['volumeMounts']>[number];
type Resources = NonNullable<Container['resources']>;

const container = part<Container>(
  {
    name: string({ expected: 'a DNS label', code: 'invalid_name', test: isDnsLabel }),
    image: string(),
    command: list(string()),
    args: list(string()),
    workingDir: string(),
    env: list(env),
    ports: list(
      part<ContainerPort>(
        { containerPort: port, name: string(), protocol: oneOf('TCP', 'UDP', 'SCTP'), hostPort: port },
        { required: ['containerPort'] },
      ),
    ),
    readinessProbe: probe,
    livenessProbe: probe,
    startupProbe: probe,
    resources: part<Resources>({ limits: map(numberOrString), requests: map(numberOrString) }),
    securityContext,
    volumeMounts: list(
      part<VolumeMount>(
        { name: string(), mountPath: string(), readOnly: boolean, subPath: string() },
        { required: ['name', 'mountPath'] },
      ),
    ),
    restartPolicy: string(),
  },
  { required: ['name'] },
);

/** `spec` of a pod. */
export const podSpec: Schema<PodSpec> = part<PodSpec>(
  {
    containers: list(container, { min: 1 }),
    initContainers: list(container),
    volumes: list(
      part<{ readonly name: string }>({ name: string() }, { required: ['name'] }) as Schema<
        NonNullable<PodSpec['volumes']>[number]
      >,
    ),
    serviceAccountName: string({
      expected: 'the name of a service account',
      code: 'invalid_name',
      test: (name) => name === '' || isObjectName(name),
    }),
    nodeName: string(),
    hostNetwork: boolean,
    hostname: string(),
    subdomain: string(),
    restartPolicy: string(),
    terminationGracePeriodSeconds: integer({ min: 0 }),
    securityContext,
    dnsPolicy: string(),
  },
  { required: ['containers'], rule: checkNames },
);

function checkNames(spec: PodSpec, at: Checker): void {
  const names = new Set<string>();
  for (const field of ['initContainers', 'containers'] as const) {
    for (const [index, { name }] of (spec[field] ?? []).entries()) {
      if (names.has(name))
        at.error('duplicate', `duplicate container name "${name}"`, [field, index, 'name']);
      names.add(name);
    }
  }
}
