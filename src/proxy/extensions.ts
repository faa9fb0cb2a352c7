/**
 * What is compiled in: the one list. An extension that is not here does not exist; a resource that needs it is refused by
 * name.
 */
import { fileAccessLogger } from './access_loggers/file/config.ts';
import { stderrAccessLogger, stdoutAccessLogger } from './access_loggers/stream/config.ts';
import { peerMetadata } from './filters/http/peer_metadata/config.ts';
import { httpRbac } from './filters/http/rbac/config.ts';
import { routerFilter } from './filters/http/router/config.ts';
import { httpConnectionManager } from './filters/network/http_connection_manager/http_connection_manager.ts';
import { networkRbac } from './filters/network/rbac/config.ts';
import { leastRequest } from './load_balancing_policies/least_request/least_request.ts';
import { maglev } from './load_balancing_policies/maglev/maglev.ts';
import { random } from './load_balancing_policies/random/random.ts';
import { ringHash } from './load_balancing_policies/ring_hash/ring_hash.ts';
import { roundRobin } from './load_balancing_policies/round_robin/round_robin.ts';
import { ExtensionRegistry } from './registry.ts';
import { downstreamRawBuffer, upstreamRawBuffer } from './transport_sockets/raw_buffer/raw_buffer.ts';
import { downstreamTls } from './transport_sockets/tls/downstream.ts';
import { upstreamTls } from './transport_sockets/tls/upstream.ts';

/** The registry of one worker. */
export function createExtensions(): ExtensionRegistry {
  return new ExtensionRegistry({
    network_filter: [httpConnectionManager, networkRbac],
    http_filter: [peerMetadata, httpRbac, routerFilter],
    'transport_socket.downstream': [downstreamTls, downstreamRawBuffer],
    'transport_socket.upstream': [upstreamTls, upstreamRawBuffer],
    load_balancing_policy: [roundRobin, leastRequest, random, ringHash, maglev],
    access_logger: [fileAccessLogger, stdoutAccessLogger, stderrAccessLogger],
  });
}
