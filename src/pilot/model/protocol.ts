/** Protocol selection: what a port speaks, by its appProtocol or the prefix of its name (Istio "Protocol Selection"). */

export type Protocol =
  | 'HTTP'
  | 'HTTP2'
  | 'HTTP_PROXY'
  | 'GRPC'
  | 'GRPCWeb'
  | 'HTTPS'
  | 'TLS'
  | 'TCP'
  | 'Mongo'
  | 'Redis'
  | 'MySQL'
  | 'UDP'
  /** Not declared: told from the first bytes. */
  | 'Auto';

const byName: Readonly<Record<string, Protocol>> = {
  http: 'HTTP',
  http_proxy: 'HTTP_PROXY',
  http2: 'HTTP2',
  grpc: 'GRPC',
  'grpc-web': 'GRPCWeb',
  https: 'HTTPS',
  tls: 'TLS',
  tcp: 'TCP',
  mongo: 'Mongo',
  redis: 'Redis',
  mysql: 'MySQL',
  udp: 'UDP',
  'kubernetes.io/h2c': 'HTTP2',
  'kubernetes.io/ws': 'HTTP',
  'kubernetes.io/wss': 'HTTPS',
};

/** Ports of protocols in which the server speaks first: sniffing would wait for ever. */
const serverFirstPorts: ReadonlySet<number> = new Set([25, 53, 3306, 27017]);

/** The protocol of a name such as those of Gateway servers and Sidecar ports (`HTTP`, `GRPC-WEB`). */
export function parseProtocol(name: string): Protocol {
  return byName[name.toLowerCase()] ?? 'Auto';
}

/** The protocol of a Service port. */
export function protocolOfServicePort(port: {
  readonly port: number;
  readonly name?: string;
  readonly protocol?: string;
  readonly appProtocol?: string;
}): Protocol {
  if (port.protocol === 'UDP') return 'UDP';
  if (port.protocol === 'SCTP') return 'TCP';
  const name = (port.appProtocol ?? port.name ?? '').toLowerCase();
  const whole = byName[name];
  if (whole !== undefined) return whole;
  if (name.startsWith('grpc-web')) return 'GRPCWeb';
  const prefix = byName[name.split('-', 1)[0] ?? ''];
  if (prefix !== undefined) return prefix;
  return serverFirstPorts.has(port.port) ? 'TCP' : 'Auto';
}

/** Whether requests are routed as HTTP. */
export function isHttp(protocol: Protocol): boolean {
  return (
    protocol === 'HTTP' ||
    protocol === 'HTTP2' ||
    protocol === 'GRPC' ||
    protocol === 'GRPCWeb' ||
    protocol === 'HTTP_PROXY'
  );
}

/** Whether upstream connections speak HTTP/2 from the start. */
export function isHttp2(protocol: Protocol): boolean {
  return protocol === 'HTTP2' || protocol === 'GRPC' || protocol === 'GRPCWeb';
}

/** Whether the application itself encrypts, so that routing goes by server name. */
export function isTls(protocol: Protocol): boolean {
  return protocol === 'HTTPS' || protocol === 'TLS';
}

/** What a listener does with connections of a protocol. */
export type ListenerProtocol = 'http' | 'tcp' | 'auto';

/** What a listener does with connections of a protocol. */
export function listenerProtocol(protocol: Protocol): ListenerProtocol {
  if (isHttp(protocol)) return 'http';
  return protocol === 'Auto' ? 'auto' : 'tcp';
}
