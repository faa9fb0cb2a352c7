/** Envoy's name of the filter. */
export const networkRbacName = 'envoy.filters.network.rbac';
