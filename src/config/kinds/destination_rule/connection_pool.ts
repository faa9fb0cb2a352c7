/** Limits, ejection and TLS towards a host: blocks that Sidecar and MeshConfig use too. */
import type { Checker } from '../../schema/checker.ts';
import { duration } from '../../schema/duration.ts';
import { isFqdn, isAddress, isWildcardDomain, uint32 } from '../../schema/names.ts';
import { type Schema, boolean, integer, list, object, oneOf, string } from '../../schema/schema.ts';
import type {
  ClientTLSSettings,
  ConnectionKeepalive,
  ConnectionPoolSettings,
  HTTPSettings,
  OutlierDetection,
  TCPSettings,
  TcpKeepalive,
} from './types.ts';

const count = integer({ min: 0 });

/** `TcpKeepalive`. */
export const tcpKeepalive: Schema<TcpKeepalive> = object<TcpKeepalive>({
  probes: uint32,
  time: duration(),
  interval: duration(),
});

/** `ConnectionPoolSettings`. */
export const connectionPool: Schema<ConnectionPoolSettings> = object<ConnectionPoolSettings>(
  {
    tcp: object<TCPSettings>({
      maxConnections: count,
      connectTimeout: duration(),
      tcpKeepalive,
      maxConnectionDuration: duration(),
      idleTimeout: duration(),
    }),
    http: object<HTTPSettings>(
      {
        http1MaxPendingRequests: count,
        http2MaxRequests: count,
        maxRequestsPerConnection: count,
        maxRetries: count,
        idleTimeout: duration(),
        h2UpgradePolicy: oneOf('DEFAULT', 'DO_NOT_UPGRADE', 'UPGRADE'),
        useClientProtocol: boolean,
        maxConcurrentStreams: count,
        http2KeepAlive: object<ConnectionKeepalive>({ interval: duration(), timeout: duration() }),
      },
      {
        rule(value, at) {
          if (value.h2UpgradePolicy === 'UPGRADE' && value.useClientProtocol === true) {
            at.error('conflict', 'useClientProtocol cannot be true when h2UpgradePolicy is UPGRADE', [
              'useClientProtocol',
            ]);
          }
        },
      },
    ),
  },
  {
    rule(value, at) {
      if (value.tcp === undefined && value.http === undefined) {
        at.error('missing_field', 'a connection pool must have at least one of tcp and http');
      }
    },
  },
);

const percent = integer({ min: 0, max: 100 });

/** `OutlierDetection`. */
export const outlierDetection: Schema<OutlierDetection> = object<OutlierDetection>(
  {
    consecutiveErrors: count,
    splitExternalLocalOriginErrors: boolean,
    consecutiveLocalOriginFailures: uint32,
    consecutiveGatewayErrors: uint32,
    consecutive5xxErrors: uint32,
    interval: duration(),
    baseEjectionTime: duration(),
    maxEjectionPercent: percent,
    minHealthPercent: percent,
    outlierDetectionHttpErrorCodes: list(integer({ min: 100, max: 599 })),
  },
  {
    rule(value, at) {
      if ((value.consecutiveErrors ?? 0) > 0) {
        at.warn(
          'deprecated',
          'consecutiveErrors is deprecated: use consecutiveGatewayErrors or consecutive5xxErrors',
          ['consecutiveErrors'],
        );
      }
      if ((value.consecutiveLocalOriginFailures ?? 0) > 0 && value.splitExternalLocalOriginErrors !== true) {
        at.error('conflict', 'consecutiveLocalOriginFailures needs splitExternalLocalOriginErrors', [
          'consecutiveLocalOriginFailures',
        ]);
      }
    },
  },
);

const file = string({ expected: 'the path of a file' });

/** `ClientTLSSettings`. */
export const clientTls: Schema<ClientTLSSettings> = object<ClientTLSSettings>(
  {
    mode: oneOf('DISABLE', 'SIMPLE', 'MUTUAL', 'ISTIO_MUTUAL'),
    clientCertificate: file,
    privateKey: file,
    caCertificates: file,
    credentialName: string(),
    subjectAltNames: list(string()),
    sni: string({
      expected: 'a DNS name',
      code: 'invalid_host',
      test: (name) => name === '' || isWildcardDomain(name) || isFqdn(name) || isAddress(name),
    }),
    insecureSkipVerify: boolean,
    caCrl: file,
  },
  { rule: checkClientTls },
);

function checkClientTls(value: ClientTLSSettings, at: Checker): void {
  const { mode = 'DISABLE', credentialName = '' } = value;
  const files = ['clientCertificate', 'privateKey', 'caCertificates'] as const;
  if ((mode === 'SIMPLE' || mode === 'MUTUAL') && credentialName !== '') {
    for (const field of [...files, 'caCrl'] as const) {
      if ((value[field] ?? '') !== '') {
        at.error('mutually_exclusive', `${field} cannot stand beside credentialName`, [field]);
      }
    }
  } else if (mode === 'MUTUAL') {
    for (const field of ['clientCertificate', 'privateKey'] as const) {
      if ((value[field] ?? '') === '') at.error('missing_field', `required for MUTUAL: ${field}`, [field]);
    }
  } else if (mode === 'ISTIO_MUTUAL') {
    for (const field of [...files, 'credentialName', 'caCrl'] as const) {
      if ((value[field] ?? '') !== '') {
        at.warn('no_effect', `${field} has no effect with ISTIO_MUTUAL: the mesh's own is used`, [field]);
      }
    }
  }
}
