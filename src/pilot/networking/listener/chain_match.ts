/** Which filter chains a port needs, by its protocol and what it does with mutual TLS. */
import { create } from '@bufbuild/protobuf';
import {
  type FilterChainMatch,
  FilterChainMatchSchema,
} from '#api/gen/envoy/config/listener/v3/listener_components_pb.ts';
import { mtlsHttpAlpn, mtlsTcpAlpn, plaintextHttpAlpn, transportProtocol } from '#api/well_known.ts';
import type { EffectiveMode } from '../../model/peer_authentication_index.ts';
import type { ListenerProtocol } from '../../model/protocol.ts';

/** One chain of a port. */
export interface ChainMatch {
  readonly protocol: 'http' | 'tcp';
  /** Whether the chain ends mutual TLS. */
  readonly mtls: boolean;
  /** `tls`, `raw_buffer`, or empty for both. */
  readonly transport: string;
  readonly alpn: readonly string[];
}

const { tls, rawBuffer } = transportProtocol;
/** All that a sidecar may offer, whatever it speaks inside. */
const istioAlpn: readonly string[] = ['istio', 'istio-peer-exchange', ...mtlsHttpAlpn];

const chains: Readonly<Record<ListenerProtocol, Readonly<Record<EffectiveMode, readonly ChainMatch[]>>>> = {
  http: {
    STRICT: [{ protocol: 'http', mtls: true, transport: tls, alpn: [] }],
    // TLS of the application itself is not HTTP to the proxy: without one of Istio's names it has no chain.
    PERMISSIVE: [
      { protocol: 'http', mtls: true, transport: tls, alpn: istioAlpn },
      { protocol: 'http', mtls: false, transport: rawBuffer, alpn: [] },
    ],
    DISABLE: [{ protocol: 'http', mtls: false, transport: '', alpn: [] }],
  },
  tcp: {
    STRICT: [{ protocol: 'tcp', mtls: true, transport: tls, alpn: [] }],
    PERMISSIVE: [
      { protocol: 'tcp', mtls: true, transport: tls, alpn: mtlsTcpAlpn },
      { protocol: 'tcp', mtls: false, transport: tls, alpn: [] },
      { protocol: 'tcp', mtls: false, transport: rawBuffer, alpn: [] },
    ],
    DISABLE: [{ protocol: 'tcp', mtls: false, transport: '', alpn: [] }],
  },
  auto: {
    STRICT: [
      { protocol: 'http', mtls: true, transport: tls, alpn: mtlsHttpAlpn },
      { protocol: 'tcp', mtls: true, transport: tls, alpn: [] },
    ],
    PERMISSIVE: [
      { protocol: 'http', mtls: true, transport: tls, alpn: mtlsHttpAlpn },
      { protocol: 'http', mtls: false, transport: rawBuffer, alpn: plaintextHttpAlpn },
      { protocol: 'tcp', mtls: true, transport: tls, alpn: mtlsTcpAlpn },
      { protocol: 'tcp', mtls: false, transport: rawBuffer, alpn: [] },
      { protocol: 'tcp', mtls: false, transport: tls, alpn: [] },
    ],
    DISABLE: [
      { protocol: 'http', mtls: false, transport: rawBuffer, alpn: plaintextHttpAlpn },
      { protocol: 'tcp', mtls: false, transport: '', alpn: [] },
    ],
  },
};

/** The chains of a port, in Istio's order. */
export function chainMatches(protocol: ListenerProtocol, mode: EffectiveMode): readonly ChainMatch[] {
  return chains[protocol][mode];
}

/** As Envoy's message; without a port it is for all that no other chain is for. */
export function filterChainMatch(match: ChainMatch, destinationPort: number | undefined): FilterChainMatch {
  return create(FilterChainMatchSchema, {
    ...(destinationPort === undefined ? {} : { destinationPort }),
    transportProtocol: match.transport,
    applicationProtocols: [...match.alpn],
  });
}

/** Whether bytes must be looked at before any chain of the port can be chosen. */
export function needsTlsInspector(protocol: ListenerProtocol, mode: EffectiveMode): boolean {
  return chains[protocol][mode].some(({ transport }) => transport !== '');
}

/** Whether plain text must be told apart. */
export function needsHttpInspector(protocol: ListenerProtocol, mode: EffectiveMode): boolean {
  return chains[protocol][mode].some(({ mtls, alpn }) => !mtls && alpn.length > 0);
}
