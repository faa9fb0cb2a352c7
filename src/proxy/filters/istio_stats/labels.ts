/** Labels of Istio's standard metrics (istio.io, "Istio Standard Metrics"), in the order in which its proxies print them. */

/** Both ends and the service: the same on HTTP and TCP. */
export const endLabels = [
  'reporter',
  'source_workload',
  'source_canonical_service',
  'source_canonical_revision',
  'source_workload_namespace',
  'source_principal',
  'source_app',
  'source_version',
  'source_cluster',
  'destination_workload',
  'destination_workload_namespace',
  'destination_principal',
  'destination_app',
  'destination_version',
  'destination_service',
  'destination_canonical_service',
  'destination_canonical_revision',
  'destination_service_name',
  'destination_service_namespace',
  'destination_cluster',
] as const;

/** Of HTTP and gRPC metrics, behind `endLabels`. */
export const requestLabels = [
  'request_protocol',
  'response_code',
  'grpc_response_status',
  'response_flags',
  'connection_security_policy',
] as const;

/** Of TCP metrics, behind `endLabels`. */
export const connectionLabels = ['request_protocol', 'response_flags', 'connection_security_policy'] as const;

/** Metrics by the name that Istio's configuration gives them: without `istio_`. */
export const metricNames = [
  'requests_total',
  'request_duration_milliseconds',
  'request_bytes',
  'response_bytes',
  'request_messages_total',
  'response_messages_total',
  'tcp_sent_bytes_total',
  'tcp_received_bytes_total',
  'tcp_connections_opened_total',
  'tcp_connections_closed_total',
] as const;
export type MetricName = (typeof metricNames)[number];

/** What stands for names that nobody told. */
export const unknown = 'unknown';
/** Canonical revision of workloads without version. */
export const latest = 'latest';
