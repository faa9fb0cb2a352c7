/** Whether proxies are native sidecars: init containers that stay, which Kubernetes knows since 1.29. */

/** Oldest kubelet for which `auto` says yes: from 1.33 on the feature cannot be switched off. */
const minimum = { major: 1, minor: 33 } as const;

function isNewEnough(kubeletVersion: string): boolean {
  const match = /^v?(\d{1,4})\.(\d{1,4})/.exec(kubeletVersion);
  if (match === null) return false;
  const major = Number(match[1]);
  return major > minimum.major || (major === minimum.major && Number(match[2]) >= minimum.minor);
}

/**
 * `ENABLE_NATIVE_SIDECARS`: true, false or auto, which asks for kubelets of 1.33 and newer on every node. Without
 * nodes to look at auto says no: a container runs everywhere.
 */
export function nativeSidecars(setting: string | undefined, kubeletVersions: readonly string[]): boolean {
  if (setting === 'true') return true;
  if (setting === 'false') return false;
  return kubeletVersions.length > 0 && kubeletVersions.every(isNewEnough);
}
