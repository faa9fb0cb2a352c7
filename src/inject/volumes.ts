/**
 * Volumes of the injected pod, and where the proxy finds them: one list each, so that a volume and its mount are seen
 * together.
 */
import { type InjectionContext, annotation, hasAnnotation } from './context.ts';
import type { Volume, VolumeMount } from './pod/types.ts';

const bootstrapOverride = 'sidecar.istio.io/bootstrapOverride';
const userVolume = 'sidecar.istio.io/userVolume';
const userVolumeMount = 'sidecar.istio.io/userVolumeMount';

/** A volume with the mounts of the proxy. */
export interface MountedVolume {
  readonly volume: Volume;
  readonly mount: VolumeMount;
}

/** A volume without a source: an empty folder on the node, which Istio writes in this form. */
function emptyFolder(name: string, mountPath: string): MountedVolume {
  return { volume: { name }, mount: { mountPath, name } };
}

function mounted(volume: Volume, mountPath: string, readOnly = false): MountedVolume {
  return { volume, mount: { mountPath, name: volume.name, ...(readOnly ? { readOnly } : {}) } };
}

const workloadSocket = emptyFolder('workload-socket', '/var/run/secrets/workload-spiffe-uds');
const credentialSocket = emptyFolder('credential-socket', '/var/run/secrets/credential-uds');
const data = mounted({ emptyDir: {}, name: 'istio-data' }, '/var/lib/istio/data');
const podInfo = mounted(
  {
    downwardAPI: {
      items: [
        { fieldRef: { fieldPath: 'metadata.labels' }, path: 'labels' },
        { fieldRef: { fieldPath: 'metadata.annotations' }, path: 'annotations' },
      ],
    },
    name: 'istio-podinfo',
  },
  '/etc/istio/pod',
);
const revocationList = mounted(
  { configMap: { name: 'istio-ca-crl', optional: true }, name: 'istio-ca-crl' },
  '/var/run/secrets/istio/crl',
);

/** Folder for the proxy's files, in memory: keys may lie there. */
function proxyFolder(name: string): MountedVolume {
  return mounted({ emptyDir: { medium: 'Memory' }, name }, '/etc/istio/proxy');
}

function workloadCertificates({ values }: InjectionContext): MountedVolume {
  const mountPath = '/var/run/secrets/workload-spiffe-credentials';
  if (values.global.caName !== 'GkeWorkloadCertificate') return emptyFolder('workload-certs', mountPath);
  const driver = 'workloadcertificates.security.cloud.google.com';
  return mounted({ csi: { driver }, name: 'gke-workload-certificate' }, mountPath, true);
}

/** The root certificates, by ConfigMap or, where switched on, by the cluster's trust bundle. */
function rootCertificate({ values }: InjectionContext): MountedVolume[] {
  if (values.global.pilotCertProvider !== 'istiod') return [];
  const name = 'istiod-ca-cert';
  const bundle = values.pilot.env['ENABLE_CLUSTER_TRUST_BUNDLE_API'] === true;
  const source = bundle
    ? {
        projected: {
          sources: [{ clusterTrustBundle: { name: 'istio.io:istiod-ca:root-cert', path: 'root-cert.pem' } }],
        },
      }
    : { configMap: { name: 'istio-ca-root-cert' } };
  return [mounted({ ...source, name }, '/var/run/secrets/istio')];
}

function token({ values }: InjectionContext): MountedVolume {
  const serviceAccountToken = {
    audience: values.global.sds.token.aud,
    expirationSeconds: 43_200,
    path: 'istio-token',
  };
  return mounted(
    { name: 'istio-token', projected: { sources: [{ serviceAccountToken }] } },
    '/var/run/secrets/tokens',
  );
}

function mutualTlsCertificates({ values, spec }: InjectionContext): MountedVolume[] {
  if (!values.global.mountMtlsCerts) return [];
  const account = spec.serviceAccountName ?? '';
  const secretName = `istio.${account === '' ? 'default' : account}`;
  return [mounted({ name: 'istio-certs', secret: { optional: true, secretName } }, '/etc/certs/', true)];
}

function lightstepCertificates({ values, proxyConfig }: InjectionContext): MountedVolume[] {
  const { tlsSettings } = proxyConfig.tracing ?? {};
  if (values.global.proxy.tracer !== 'lightstep' || tlsSettings === undefined) return [];
  const file = tlsSettings.caCertificates ?? '';
  const folder = file.slice(0, file.lastIndexOf('/') + 1);
  const volume = { name: 'lightstep-certs', secret: { optional: true, secretName: 'lightstep.cacert' } };
  return [mounted(volume, folder, true)];
}

function customBootstrap(context: InjectionContext): MountedVolume[] {
  if (!hasAnnotation(context, bootstrapOverride)) return [];
  const volume = {
    configMap: { name: annotation(context, bootstrapOverride) },
    name: 'custom-bootstrap-volume',
  };
  return [mounted(volume, '/etc/istio/custom-bootstrap')];
}

/** An annotation that holds a JSON object of objects by name, or a list of objects with names; validated before. */
function fromJson(context: InjectionContext, name: string): [string, Record<string, unknown>][] {
  const text = annotation(context, name);
  if (text === '') return [];
  const parsed = JSON.parse(text) as
    | Record<string, Record<string, unknown>>
    | readonly Record<string, unknown>[];
  if (Array.isArray(parsed))
    return parsed.map((item: Record<string, unknown>) => [String(item['name']), item]);
  return Object.entries(parsed as Record<string, Record<string, unknown>>).sort(([first], [second]) =>
    first < second ? -1 : 1,
  );
}

/** The user's volumes (`sidecar.istio.io/userVolume`). */
export function userVolumes(context: InjectionContext): Volume[] {
  return fromJson(context, userVolume).map(([name, source]) => ({ ...source, name }));
}

/** The user's mounts (`sidecar.istio.io/userVolumeMount`). */
export function userVolumeMounts(context: InjectionContext): VolumeMount[] {
  return fromJson(context, userVolumeMount).map(([name, mount]) => ({
    ...(mount as unknown as VolumeMount),
    name,
  }));
}

const mountsOf = (all: readonly MountedVolume[]): VolumeMount[] => all.map(({ mount }) => mount);
const volumesOf = (all: readonly MountedVolume[]): Volume[] => all.map(({ volume }) => volume);

/** Mounts of the sidecar, in Istio's order. */
export function sidecarMounts(context: InjectionContext): VolumeMount[] {
  const old = context.compatibility === '1.8';
  return [
    ...mountsOf([
      ...(old ? [] : [workloadSocket, credentialSocket, workloadCertificates(context)]),
      ...rootCertificate(context),
      ...(old ? [] : [revocationList]),
      data,
      ...customBootstrap(context),
      proxyFolder('istio-envoy'),
      ...(old ? [] : [token(context)]),
      ...mutualTlsCertificates(context),
      podInfo,
      ...lightstepCertificates(context),
    ]),
    ...userVolumeMounts(context),
  ];
}

/** Volumes of a pod with a sidecar, in Istio's order. */
export function sidecarVolumes(context: InjectionContext): Volume[] {
  const old = context.compatibility === '1.8';
  return [
    ...volumesOf([
      ...(old ? [] : [workloadSocket, credentialSocket, workloadCertificates(context)]),
      ...customBootstrap(context),
      proxyFolder('istio-envoy'),
      data,
      podInfo,
      ...(old ? [] : [token(context)]),
      ...rootCertificate(context),
      ...(old ? [] : [revocationList]),
      ...mutualTlsCertificates(context),
    ]),
    ...userVolumes(context),
    ...volumesOf(lightstepCertificates(context)),
  ];
}

/** Mounts of the agent that serves a gRPC application without a proxy. */
export function grpcAgentMounts(context: InjectionContext): VolumeMount[] {
  return [
    ...mountsOf([
      workloadSocket,
      workloadCertificates(context),
      ...rootCertificate(context),
      data,
      proxyFolder('istio-xds'),
      token(context),
      podInfo,
    ]),
    ...userVolumeMounts(context),
  ];
}

/** Volumes of a pod with such an agent. */
export function grpcAgentVolumes(context: InjectionContext): Volume[] {
  return [
    ...volumesOf([
      workloadSocket,
      workloadCertificates(context),
      proxyFolder('istio-xds'),
      data,
      podInfo,
      token(context),
      ...rootCertificate(context),
    ]),
    ...userVolumes(context),
  ];
}
