/** Ports that each sidecar has for itself; in mode `none` on a machine with one loopback address each pod gets others. */
export const ports = {
  admin: 15000,
  status: 15020,
  health: 15021,
  dns: 15053,
  prometheus: 15090,
  /** `MeshConfig.proxyHttpPort` of pods that are not captured. */
  httpProxy: 15007,
} as const;
