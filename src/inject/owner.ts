/** Who makes a pod, as far as the pod itself tells: its controller, or the controller's controller. */
import type { Owner } from './context.ts';
import type { OwnerReference, Pod } from './pod/types.ts';

function without(name: string, suffix: string | undefined): string | undefined {
  return suffix !== undefined && suffix !== '' && name.endsWith(`-${suffix}`)
    ? name.slice(0, -suffix.length - 1)
    : undefined;
}

/** Kinds of controllers that are made by others, whose name is a part of theirs. */
function made(
  controller: Required<Pick<OwnerReference, 'apiVersion' | 'kind' | 'name'>>,
  pod: Pod,
): typeof controller {
  const { labels = {} } = pod.metadata ?? {};
  const { kind, name } = controller;
  if (kind === 'ReplicaSet') {
    const rollout = without(name, labels['rollouts-pod-template-hash']);
    if (rollout !== undefined) return { apiVersion: 'v1alpha1', kind: 'Rollout', name: rollout };
    const deployment = without(name, labels['pod-template-hash']);
    if (deployment !== undefined) return { apiVersion: 'apps/v1', kind: 'Deployment', name: deployment };
  }
  if (kind === 'ReplicationController') {
    const config = labels['deploymentconfig'];
    if (config !== undefined && config !== '' && name.startsWith(`${config}-`))
      return { apiVersion: 'apps.openshift.io/v1', kind: 'DeploymentConfig', name: config };
  }
  if (kind === 'Job') {
    // A CronJob puts the planned time, in minutes since 1970, behind its name.
    const cron = /^(.+)-\d{8,10}$/.exec(name)?.[1];
    if (cron !== undefined) return { apiVersion: 'batch/v1', kind: 'CronJob', name: cron };
  }
  return controller;
}

/** The owner of a pod of a namespace; the pod itself when nothing controls it. */
export function ownerOf(pod: Pod, namespace: string): Owner {
  const { name = '', generateName = '', ownerReferences = [] } = pod.metadata ?? {};
  const controller = ownerReferences.find((reference) => reference.controller === true);
  // A name that the user chose is no controller's.
  if (generateName !== '' && controller !== undefined) {
    const { apiVersion = '', kind = '', name: owner = '' } = controller;
    if (owner !== '') return { ...made({ apiVersion, kind, name: owner }, pod), namespace };
  }
  return { apiVersion: 'v1', kind: 'Pod', name, namespace };
}
