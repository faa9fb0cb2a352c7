/** The shapes of Pod and its parts, in the field order of `k8s.io/api/core/v1`. */
import {
  type Shape,
  always,
  any,
  bool,
  boolOrAbsent,
  int,
  intOrAbsent,
  intOrString,
  list,
  map,
  object,
  quantity,
  text,
  textOrAbsent,
} from './shape.ts';

const keySelector = object({ name: text, key: text, optional: boolOrAbsent });
const reference = object({ name: text, optional: boolOrAbsent });
const fieldRef = object({ apiVersion: text, fieldPath: text });
const resourceFieldRef = object({ containerName: text, resource: text, divisor: quantity });

const envVar = object({
  name: text,
  value: text,
  valueFrom: object({
    fieldRef,
    resourceFieldRef,
    configMapKeyRef: keySelector,
    secretKeyRef: keySelector,
    fileKeyRef: any,
  }),
});

const execAction = object({ command: list(text) });
const httpGetAction = object({
  path: text,
  port: intOrString,
  host: text,
  scheme: text,
  httpHeaders: list(object({ name: textOrAbsent, value: textOrAbsent })),
});
const tcpSocketAction = object({ port: intOrString, host: text });
const grpcAction = object({ port: intOrAbsent, service: textOrAbsent });

const probe = object({
  exec: execAction,
  httpGet: httpGetAction,
  tcpSocket: tcpSocketAction,
  grpc: grpcAction,
  initialDelaySeconds: int,
  timeoutSeconds: int,
  periodSeconds: int,
  successThreshold: int,
  failureThreshold: int,
  terminationGracePeriodSeconds: intOrAbsent,
});

const lifecycleHandler = object({
  exec: execAction,
  httpGet: httpGetAction,
  tcpSocket: tcpSocketAction,
  sleep: object({ seconds: intOrAbsent }),
});

const containerPort = object({
  name: text,
  hostPort: int,
  containerPort: intOrAbsent,
  protocol: text,
  hostIP: text,
});

const securityContext = object({
  capabilities: object({ add: list(text), drop: list(text) }),
  privileged: boolOrAbsent,
  seLinuxOptions: any,
  windowsOptions: any,
  runAsUser: intOrAbsent,
  runAsGroup: intOrAbsent,
  runAsNonRoot: boolOrAbsent,
  readOnlyRootFilesystem: boolOrAbsent,
  allowPrivilegeEscalation: boolOrAbsent,
  procMount: textOrAbsent,
  seccompProfile: any,
  appArmorProfile: any,
});

const resourceRequirements = object({
  limits: map(quantity),
  requests: map(quantity),
  claims: list(any),
});

const volumeMount = object({
  name: textOrAbsent,
  readOnly: bool,
  recursiveReadOnly: textOrAbsent,
  mountPath: textOrAbsent,
  subPath: text,
  mountPropagation: textOrAbsent,
  subPathExpr: text,
});

/** `Container`. */
export const containerShape = object({
  name: textOrAbsent,
  image: text,
  command: list(text),
  args: list(text),
  workingDir: text,
  ports: list(containerPort, { key: 'containerPort' }),
  envFrom: list(object({ prefix: text, configMapRef: reference, secretRef: reference })),
  env: list(envVar, { key: 'name' }),
  resources: always(resourceRequirements),
  resizePolicy: list(any),
  restartPolicy: textOrAbsent,
  restartPolicyRules: list(any),
  volumeMounts: list(volumeMount, { key: 'mountPath' }),
  volumeDevices: list(object({ name: textOrAbsent, devicePath: textOrAbsent }), { key: 'devicePath' }),
  livenessProbe: probe,
  readinessProbe: probe,
  startupProbe: probe,
  lifecycle: object({ postStart: lifecycleHandler, preStop: lifecycleHandler, stopSignal: textOrAbsent }),
  terminationMessagePath: text,
  terminationMessagePolicy: text,
  imagePullPolicy: text,
  securityContext,
  stdin: bool,
  stdinOnce: bool,
  tty: bool,
});

const keyToPath = object({ key: textOrAbsent, path: textOrAbsent, mode: intOrAbsent });
const downwardFile = object({ path: textOrAbsent, fieldRef, resourceFieldRef, mode: intOrAbsent });

const volume = object({
  name: textOrAbsent,
  hostPath: object({ path: textOrAbsent, type: textOrAbsent }),
  emptyDir: object({ medium: text, sizeLimit: quantity }),
  gcePersistentDisk: any,
  awsElasticBlockStore: any,
  gitRepo: any,
  secret: object({
    secretName: text,
    items: list(keyToPath),
    defaultMode: intOrAbsent,
    optional: boolOrAbsent,
  }),
  nfs: any,
  iscsi: any,
  glusterfs: any,
  persistentVolumeClaim: object({ claimName: textOrAbsent, readOnly: bool }),
  rbd: any,
  flexVolume: any,
  cinder: any,
  cephfs: any,
  flocker: any,
  downwardAPI: object({ items: list(downwardFile), defaultMode: intOrAbsent }),
  fc: any,
  azureFile: any,
  configMap: object({
    name: text,
    items: list(keyToPath),
    defaultMode: intOrAbsent,
    optional: boolOrAbsent,
  }),
  vsphereVolume: any,
  quobyte: any,
  azureDisk: any,
  photonPersistentDisk: any,
  projected: object({ sources: list(any), defaultMode: intOrAbsent }),
  portworxVolume: any,
  scaleIO: any,
  storageos: any,
  csi: object({
    driver: textOrAbsent,
    readOnly: boolOrAbsent,
    fsType: textOrAbsent,
    volumeAttributes: map(text),
    nodePublishSecretRef: object({ name: text }),
  }),
  ephemeral: any,
  image: any,
});

const podSecurityContext = object({
  seLinuxOptions: any,
  windowsOptions: any,
  runAsUser: intOrAbsent,
  runAsGroup: intOrAbsent,
  runAsNonRoot: boolOrAbsent,
  supplementalGroups: list(intOrAbsent),
  supplementalGroupsPolicy: textOrAbsent,
  fsGroup: intOrAbsent,
  sysctls: list(any),
  fsGroupChangePolicy: textOrAbsent,
  seccompProfile: any,
  appArmorProfile: any,
  seLinuxChangePolicy: textOrAbsent,
});

/** `PodSpec`. */
export const podSpecShape = object({
  volumes: list(volume, { key: 'name' }),
  initContainers: list(containerShape, { key: 'name' }),
  containers: { ...list(containerShape, { key: 'name' }), keepZero: true },
  ephemeralContainers: list(any, { key: 'name' }),
  restartPolicy: text,
  terminationGracePeriodSeconds: intOrAbsent,
  activeDeadlineSeconds: intOrAbsent,
  dnsPolicy: text,
  nodeSelector: map(text),
  serviceAccountName: text,
  serviceAccount: text,
  automountServiceAccountToken: boolOrAbsent,
  nodeName: text,
  hostNetwork: bool,
  hostPID: bool,
  hostIPC: bool,
  shareProcessNamespace: boolOrAbsent,
  securityContext: podSecurityContext,
  imagePullSecrets: list(object({ name: text }), { key: 'name' }),
  hostname: text,
  subdomain: text,
  affinity: any,
  schedulerName: text,
  tolerations: list(any),
  hostAliases: list(any, { key: 'ip' }),
  priorityClassName: text,
  priority: intOrAbsent,
  dnsConfig: object({ nameservers: list(text), searches: list(text), options: list(any) }),
  readinessGates: list(any),
  runtimeClassName: textOrAbsent,
  enableServiceLinks: boolOrAbsent,
  preemptionPolicy: textOrAbsent,
  overhead: map(quantity),
  topologySpreadConstraints: list(any, { key: 'topologyKey' }),
  setHostnameAsFQDN: boolOrAbsent,
  os: any,
  hostUsers: boolOrAbsent,
  schedulingGates: list(any, { key: 'name' }),
  resourceClaims: list(any, { key: 'name' }),
  resources: any,
  hostnameOverride: textOrAbsent,
});

/** `ObjectMeta`. */
export const metadataShape = object({
  name: text,
  generateName: text,
  namespace: text,
  selfLink: text,
  uid: text,
  resourceVersion: text,
  generation: int,
  creationTimestamp: any,
  deletionTimestamp: any,
  deletionGracePeriodSeconds: intOrAbsent,
  labels: map(textOrAbsent),
  annotations: map(textOrAbsent),
  ownerReferences: list(
    object({
      apiVersion: textOrAbsent,
      kind: textOrAbsent,
      name: textOrAbsent,
      uid: textOrAbsent,
      controller: boolOrAbsent,
      blockOwnerDeletion: boolOrAbsent,
    }),
    { key: 'uid' },
  ),
  finalizers: list(text, 'set'),
  managedFields: list(any),
});

/** `Pod`. */
export const podShape: Shape & { kind: 'object' } = object({
  kind: text,
  apiVersion: text,
  metadata: always(metadataShape),
  spec: always(podSpecShape),
  status: always(object({})),
});
