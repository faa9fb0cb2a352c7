/** `envoy.service.auth.v3.CheckRequest`: what a gRPC authorization service learns of a request. */
import type { JsonObject, MessageInitShape } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import type { AddressSchema } from '#api/gen/envoy/config/core/v3/address_pb.ts';
import type { AttributeContextSchema } from '#api/gen/envoy/service/auth/v3/attribute_context_pb.ts';
import type { CheckRequestSchema } from '#api/gen/envoy/service/auth/v3/external_auth_pb.ts';
import type { RequestHeaderMap } from '../../../http/header_map.ts';
import type { Address } from '../../../network/address.ts';
import type { ConnectionInfo, TlsInfo } from '../../../network/connection.ts';
import type { RouteEntry } from '../../../router/route_entry.ts';
import type { StreamInfo } from '../../../stream_info/stream_info.ts';
import type { NamePredicate } from './settings.ts';
import { type CheckBody, partialBodyHeader } from './verdict.ts';

/** What goes into the request besides the request itself. */
export interface CheckRequestSettings {
  readonly allowed: NamePredicate | undefined;
  readonly disallowed: NamePredicate | undefined;
  readonly metadataNamespaces: readonly string[];
  readonly routeMetadataNamespaces: readonly string[];
  readonly includePeerCertificate: boolean;
  readonly includeTlsSession: boolean;
  /** As `header_map` with raw values in place of `headers`. */
  readonly encodeRawHeaders: boolean;
}

function addressOf({ ip, port }: Address): MessageInitShape<typeof AddressSchema> {
  if (port < 0) return { address: { case: 'pipe', value: { path: ip } } };
  const portSpecifier = { case: 'portValue' as const, value: port };
  return { address: { case: 'socketAddress', value: { address: ip, portSpecifier } } };
}

function principalOf(uris: readonly string[], dns: readonly string[], subject: string): string {
  return uris[0] ?? dns[0] ?? subject;
}

/** URL-encoded PEM, as Envoy gives it. */
function certificateOf(tls: TlsInfo): string {
  const der = tls.peerCertificateDer;
  if (der === undefined) return '';
  const lines = der.toString('base64').match(/.{1,64}/g) ?? [];
  return encodeURIComponent(`-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`);
}

/** Every header with its pseudo headers; repeated names are joined. */
function headersOf(
  request: RequestHeaderMap,
  allowed: NamePredicate | undefined,
  disallowed: NamePredicate | undefined,
): [string, string][] {
  const found = new Map<string, string>();
  const take = (name: string, value: string): void => {
    if ((allowed !== undefined && !allowed(name)) || disallowed?.(name) === true) return;
    const before = found.get(name);
    found.set(name, before === undefined ? value : `${before},${value}`);
  };
  take(':authority', request.authority);
  take(':path', request.path);
  take(':method', request.method);
  if (request.scheme !== '') take(':scheme', request.scheme);
  request.names.forEach((name, i) => take(name, request.values[i] as string));
  return [...found];
}

function metadataOf(
  namespaces: readonly string[],
  find: (name: string) => unknown,
): { filterMetadata: Record<string, JsonObject> } {
  const filterMetadata: Record<string, JsonObject> = {};
  for (const name of namespaces) {
    const found = find(name);
    if (typeof found === 'object' && found !== null) filterMetadata[name] = found as JsonObject;
  }
  return { filterMetadata };
}

/** Both ends of a connection. */
export function peersOf(
  connection: ConnectionInfo,
  includeCertificate: boolean,
  service: string,
): Pick<MessageInitShape<typeof AttributeContextSchema>, 'source' | 'destination'> {
  const { tls } = connection;
  return {
    source: {
      address: addressOf(connection.remoteAddress),
      principal: tls === undefined ? '' : principalOf(tls.peerUriSans, tls.peerDnsSans, tls.peerSubject),
      certificate: tls === undefined || !includeCertificate ? '' : certificateOf(tls),
      service,
    },
    destination: {
      address: addressOf(connection.localAddress),
      principal: tls === undefined ? '' : principalOf(tls.localUriSans, [], tls.localSubject),
    },
  };
}

export function buildCheckRequest(
  settings: CheckRequestSettings,
  request: RequestHeaderMap,
  info: StreamInfo,
  route: RouteEntry | undefined,
  contextExtensions: Readonly<Record<string, string>>,
  body: CheckBody | undefined,
): MessageInitShape<typeof CheckRequestSchema> {
  const { connection } = info;
  const { tls } = connection;
  const pairs = headersOf(request, settings.allowed, settings.disallowed);
  if (body !== undefined) pairs.push([partialBodyHeader, String(body.partial)]);
  return {
    attributes: {
      ...peersOf(
        connection,
        settings.includePeerCertificate,
        request.getFirst('x-envoy-downstream-service-cluster') ?? '',
      ),
      request: {
        time: timestampFromMs(info.startTimeMs),
        http: {
          id: info.requestId,
          method: request.method,
          ...(settings.encodeRawHeaders
            ? {
                headerMap: {
                  headers: pairs.map(([key, value]) => ({ key, rawValue: Buffer.from(value, 'latin1') })),
                },
              }
            : { headers: Object.fromEntries(pairs) }),
          path: request.path,
          host: request.authority,
          scheme: request.scheme,
          size: BigInt(body?.heldBytes ?? 0),
          protocol: info.protocol,
          ...(body === undefined
            ? {}
            : body.asBytes
              ? { rawBody: new Uint8Array(body.bytes) }
              : { body: body.bytes.toString('utf8') }),
        },
      },
      contextExtensions: { ...contextExtensions },
      metadataContext: metadataOf(settings.metadataNamespaces, (name) => info.dynamicMetadata?.get(name)),
      routeMetadataContext: metadataOf(settings.routeMetadataNamespaces, (name) => route?.metadata?.[name]),
      ...(settings.includeTlsSession && tls !== undefined
        ? { tlsSession: { sni: connection.requestedServerName } }
        : {}),
    },
  };
}
