/** Makes the checks of hosts. Loaded when a cluster asks for active health checks. */
import { noTransportOptions } from '../../network/transport_socket.ts';
import type { UpstreamHost } from '../host.ts';
import { HostCheck, type HostCheckContext } from './host_check.ts';
import { HttpProbe } from './http_probe.ts';
import type { ProbeCallbacks, ProbeTarget } from './probe.ts';
import { TcpProbe } from './tcp_probe.ts';

/** How hosts of a cluster are reached. */
export type ProbeEnvironment = Pick<ProbeTarget, 'dial' | 'http1' | 'http2'> & {
  readonly clusterName: string;
  /** The transport socket of a check. */
  transport(host: UpstreamHost): ProbeTarget['transport'];
};

export function createHostCheck(
  host: UpstreamHost,
  context: HostCheckContext,
  environment: ProbeEnvironment,
): HostCheck {
  const { options } = context;
  const { check } = options;
  const own = host.healthCheck;
  const port = own !== undefined && own.port > 0 ? own.port : options.port;
  const address =
    own?.address ?? (port > 0 && host.address.port >= 0 ? { ip: host.address.ip, port } : host.address);
  const transport = environment.transport(host);
  const http2 = check.kind === 'grpc' || (check.kind === 'http' && check.http2);
  const protocols = options.alpn ?? (check.kind === 'tcp' ? undefined : http2 ? ['h2'] : ['http/1.1']);
  const target: ProbeTarget = {
    address,
    transport,
    transportOptions:
      protocols === undefined || !transport.secure
        ? noTransportOptions
        : { ...noTransportOptions, applicationProtocols: protocols },
    dial: environment.dial,
    http1: environment.http1,
    http2: environment.http2,
    reuseConnection: options.reuseConnection,
    authority: own !== undefined && own.hostname !== '' ? own.hostname : environment.clusterName,
  };
  return new HostCheck(host, context, (callbacks: ProbeCallbacks) =>
    check.kind === 'tcp'
      ? new TcpProbe(target, check.send, check.receive, callbacks)
      : new HttpProbe(target, check, callbacks),
  );
}
