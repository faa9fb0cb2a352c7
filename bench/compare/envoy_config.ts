/** Envoy bootstrap files for the comparison: the same file drives Envoy and our proxy. */

/** Istio's default access log line, as both proxies format it. */
const accessLogFormat =
  '[%START_TIME%] "%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%" %RESPONSE_CODE% %RESPONSE_FLAGS% ' +
  '%RESPONSE_CODE_DETAILS% %CONNECTION_TERMINATION_DETAILS% "%UPSTREAM_TRANSPORT_FAILURE_REASON%" %BYTES_RECEIVED% ' +
  '%BYTES_SENT% %DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% "%REQ(X-FORWARDED-FOR)%" "%REQ(USER-AGENT)%" ' +
  '"%REQ(X-REQUEST-ID)%" "%REQ(:AUTHORITY)%" "%UPSTREAM_HOST%" %UPSTREAM_CLUSTER_RAW% %UPSTREAM_LOCAL_ADDRESS% ' +
  '%DOWNSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_REMOTE_ADDRESS% %REQUESTED_SERVER_NAME% %ROUTE_NAME%\n';

export interface Certificates {
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
}

export interface ProxyShape {
  readonly port: number;
  readonly adminPort: number;
  readonly upstreamPort: number;
  /** TLS on the listening side, the dialling side, or neither. */
  readonly tls: 'none' | 'terminate' | 'originate';
  readonly certificates: Certificates;
  /** HTTP/2 to the upstream and between the two of a pair; default HTTP/1.1. */
  readonly http2?: boolean;
  /** Path of the access log, or undefined for none. */
  readonly accessLog: string | undefined;
}

function tlsContext(certificates: Certificates, alpn: readonly string[]): object {
  return {
    tls_params: { tls_minimum_protocol_version: 'TLSv1_3', tls_maximum_protocol_version: 'TLSv1_3' },
    tls_certificates: [
      { certificate_chain: { filename: certificates.cert }, private_key: { filename: certificates.key } },
    ],
    validation_context: {
      trusted_ca: { filename: certificates.ca },
      match_typed_subject_alt_names: [{ san_type: 'URI', matcher: { prefix: 'spiffe://cluster.local/' } }],
    },
    alpn_protocols: alpn,
  };
}

const tlsType = 'type.googleapis.com/envoy.extensions.transport_sockets.tls.v3';

/** A sidecar-like bootstrap: router with retries, RBAC without rules, Istio's metrics for those that know them. */
export function envoyBootstrap(shape: ProxyShape): object {
  const accessLog =
    shape.accessLog === undefined
      ? []
      : [
          {
            name: 'envoy.access_loggers.file',
            typed_config: {
              '@type': 'type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog',
              path: shape.accessLog,
              log_format: { text_format_source: { inline_string: accessLogFormat } },
            },
          },
        ];
  const direction = shape.tls === 'terminate' ? 'INBOUND' : 'OUTBOUND';
  return {
    node: { id: 'sidecar~127.0.0.1~bench.default~default.svc.cluster.local', cluster: 'bench' },
    admin: { address: { socket_address: { address: '127.0.0.1', port_value: shape.adminPort } } },
    static_resources: {
      listeners: [
        {
          name: 'bench',
          traffic_direction: direction,
          address: { socket_address: { address: '127.0.0.1', port_value: shape.port } },
          filter_chains: [
            {
              ...(shape.tls === 'terminate'
                ? {
                    transport_socket: {
                      name: 'envoy.transport_sockets.tls',
                      typed_config: {
                        '@type': `${tlsType}.DownstreamTlsContext`,
                        require_client_certificate: true,
                        common_tls_context: tlsContext(
                          shape.certificates,
                          shape.http2 === true ? ['h2', 'http/1.1'] : ['istio'],
                        ),
                      },
                    },
                  }
                : {}),
              filters: [
                {
                  name: 'envoy.filters.network.http_connection_manager',
                  typed_config: {
                    '@type':
                      'type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager',
                    stat_prefix: 'bench',
                    server_name: 'istio-envoy',
                    use_remote_address: false,
                    normalize_path: true,
                    stream_idle_timeout: '0s',
                    access_log: accessLog,
                    route_config: {
                      name: '9080',
                      virtual_hosts: [
                        {
                          name: 'backend.default.svc.cluster.local:9080',
                          domains: ['backend', 'backend.default', '*'],
                          routes: [
                            {
                              name: 'default',
                              match: { prefix: '/' },
                              route: {
                                cluster: 'backend',
                                timeout: '0s',
                                retry_policy: {
                                  retry_on:
                                    'connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes',
                                  num_retries: 2,
                                  retry_host_predicate: [
                                    {
                                      name: 'envoy.retry_host_predicates.previous_hosts',
                                      typed_config: {
                                        '@type':
                                          'type.googleapis.com/envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate',
                                      },
                                    },
                                  ],
                                  host_selection_retry_max_attempts: '5',
                                },
                              },
                            },
                          ],
                        },
                      ],
                    },
                    http_filters: [
                      {
                        name: 'envoy.filters.http.rbac',
                        typed_config: {
                          '@type': 'type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC',
                        },
                      },
                      {
                        name: 'istio.stats',
                        is_optional: true,
                        typed_config: {
                          '@type': 'type.googleapis.com/udpa.type.v1.TypedStruct',
                          type_url: 'type.googleapis.com/stats.PluginConfig',
                          value: {},
                        },
                      },
                      {
                        name: 'envoy.filters.http.router',
                        typed_config: {
                          '@type': 'type.googleapis.com/envoy.extensions.filters.http.router.v3.Router',
                        },
                      },
                    ],
                  },
                },
              ],
            },
          ],
        },
      ],
      clusters: [
        {
          name: 'backend',
          type: 'STATIC',
          connect_timeout: '10s',
          lb_policy: 'LEAST_REQUEST',
          ...(shape.http2 === true
            ? {
                typed_extension_protocol_options: {
                  'envoy.extensions.upstreams.http.v3.HttpProtocolOptions': {
                    '@type': 'type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions',
                    explicit_http_config: { http2_protocol_options: {} },
                  },
                },
              }
            : {}),
          circuit_breakers: {
            thresholds: [
              {
                max_connections: 4294967295,
                max_pending_requests: 4294967295,
                max_requests: 4294967295,
                max_retries: 4294967295,
              },
            ],
          },
          load_assignment: {
            cluster_name: 'backend',
            endpoints: [
              {
                lb_endpoints: [
                  {
                    endpoint: {
                      address: { socket_address: { address: '127.0.0.1', port_value: shape.upstreamPort } },
                    },
                  },
                ],
              },
            ],
          },
          ...(shape.tls === 'originate'
            ? {
                transport_socket: {
                  name: 'envoy.transport_sockets.tls',
                  typed_config: {
                    '@type': `${tlsType}.UpstreamTlsContext`,
                    sni: 'outbound_.9080_._.backend.default.svc.cluster.local',
                    common_tls_context: tlsContext(
                      shape.certificates,
                      shape.http2 === true ? ['istio', 'h2'] : ['istio'],
                    ),
                  },
                },
              }
            : {}),
        },
      ],
    },
  };
}
