/** Istio's well-known ports. All are TCP; the ports of a sidecar are never captured. */

/** Admin interface of the proxy, loopback only (`ProxyConfig.proxyAdminPort`). */
export const PROXY_ADMIN = 15000;
/** Captured outbound traffic, listener `virtualOutbound` (`MeshConfig.proxyListenPort`). */
export const OUTBOUND = 15001;
/** Loopback listener of `istio-iptables --run-validation`: sees whether capture works. */
export const CAPTURE_VALIDATION = 15002;
/** Debug questions to the control plane, through the agent (`istioctl x internal-debug`). */
export const AGENT_DEBUG = 15004;
/** Captured inbound traffic, listener `virtualInbound` (`MeshConfig.proxyInboundListenPort`). */
export const INBOUND = 15006;
/** mTLS tunnel (HBONE) of ambient workloads. */
export const HBONE = 15008;
/** xDS and CA of the control plane without TLS. */
export const XDS_PLAINTEXT = 15010;
/** xDS and CA of the control plane with TLS. */
export const XDS = 15012;
/** Metrics of the control plane. */
export const CONTROL_PLANE_MONITORING = 15014;
/** Webhooks of the control plane: injection and validation, HTTPS (Service port 443). */
export const WEBHOOK = 15017;
/** The agent: probes of the application, merged metrics (`ProxyConfig.statusPort`). */
export const AGENT_STATUS = 15020;
/** Readiness of the sidecar, `/healthz/ready`, answered through the proxy. */
export const READINESS = 15021;
/** DNS proxy of the agent, UDP and TCP, loopback. */
export const DNS = 15053;
/** Prometheus page of the proxy, named port `http-envoy-prom`. */
export const PROXY_METRICS = 15090;
/** Gateways with `AUTO_PASSTHROUGH` between networks. */
export const EAST_WEST_GATEWAY = 15443;
/** Debug and readiness of the control plane, HTTP. */
export const CONTROL_PLANE_HTTP = 8080;
/** Introspection of the control plane (ControlZ), loopback. */
export const CONTROL_PLANE_INTROSPECTION = 9876;
