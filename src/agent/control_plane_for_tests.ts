/** A control plane on a real TLS port for tests of the agent: authority, ADS with one HTTP and one TLS listener. */
import { create } from '@bufbuild/protobuf';
import { anyPack } from '@bufbuild/protobuf/wkt';
import {
  ApiConfigSource_ApiType,
  ApiVersion,
  ConfigSourceSchema,
} from '#api/gen/envoy/config/core/v3/config_source_pb.ts';
import { ListenerSchema, type Listener } from '#api/gen/envoy/config/listener/v3/listener_pb.ts';
import { RouterSchema } from '#api/gen/envoy/extensions/filters/http/router/v3/router_pb.ts';
import { HttpConnectionManagerSchema } from '#api/gen/envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager_pb.ts';
import { DownstreamTlsContextSchema } from '#api/gen/envoy/extensions/transport_sockets/tls/v3/tls_pb.ts';
import { NameTableSchema } from '#api/gen/istio/networking/nds/v1/nds_pb.ts';
import { silentLogger } from '#base/log.ts';
import { clientCertificateAuthenticator } from '#security/authn/client_certificate_authenticator.ts';
import { connectionContextValues } from '#security/authn/connect_request.ts';
import { jwtAuthenticator } from '#security/authn/jwt_authenticator.ts';
import { TokenIssuer } from '#security/authn/token_issuer.ts';
import { registerCaService } from '#security/ca/ca_service.ts';
import { CertificateAuthority } from '#security/ca/certificate_authority.ts';
import { MetricsRegistry } from '#telemetry/metrics.ts';
import { registerAds } from '#xds/server/discovery_services.ts';
import { encodeResource } from '#xds/server/encoded_resource.ts';
import { GrpcServer } from '#xds/server/grpc_server.ts';
import { XdsServer } from '#xds/server/server.ts';
import type { ServedResource } from '#xds/server/source.ts';
import { typeUrls } from '#xds/type_url.ts';

/** Name in the server's certificate. */
export const testServerName = 'istiod.istio-system.svc';

/** A listener that answers 200 with a text, over TLS with the workload's certificate when asked for. */
export function directListener(name: string, port: number, text: string, tls: boolean): Listener {
  const manager = create(HttpConnectionManagerSchema, {
    statPrefix: name,
    routeSpecifier: {
      case: 'routeConfig',
      value: {
        virtualHosts: [
          {
            name: 'all',
            domains: ['*'],
            routes: [
              {
                match: { pathSpecifier: { case: 'prefix', value: '/' } },
                action: {
                  case: 'directResponse',
                  value: { status: 200, body: { specifier: { case: 'inlineString', value: text } } },
                },
              },
            ],
          },
        ],
      },
    },
    httpFilters: [
      {
        name: 'envoy.filters.http.router',
        configType: { case: 'typedConfig', value: anyPack(RouterSchema, create(RouterSchema)) },
      },
    ],
  });
  const sdsConfig = create(ConfigSourceSchema, {
    resourceApiVersion: ApiVersion.V3,
    initialFetchTimeout: { seconds: 0n, nanos: 0 },
    configSourceSpecifier: {
      case: 'apiConfigSource' as const,
      value: {
        apiType: ApiConfigSource_ApiType.GRPC,
        transportApiVersion: ApiVersion.V3,
        setNodeOnFirstMessageOnly: true,
        grpcServices: [
          { targetSpecifier: { case: 'envoyGrpc' as const, value: { clusterName: 'sds-grpc' } } },
        ],
      },
    },
  });
  const context = create(DownstreamTlsContextSchema, {
    requireClientCertificate: true,
    commonTlsContext: {
      tlsCertificateSdsSecretConfigs: [{ name: 'default', sdsConfig }],
      validationContextType: {
        case: 'validationContextSdsSecretConfig',
        value: { name: 'ROOTCA', sdsConfig },
      },
    },
  });
  return create(ListenerSchema, {
    name,
    address: {
      address: {
        case: 'socketAddress',
        value: { address: '127.0.0.1', portSpecifier: { case: 'portValue', value: port } },
      },
    },
    filterChains: [
      {
        filters: [
          {
            name: 'envoy.filters.network.http_connection_manager',
            configType: { case: 'typedConfig', value: anyPack(HttpConnectionManagerSchema, manager) },
          },
        ],
        ...(tls
          ? {
              transportSocket: {
                name: 'envoy.transport_sockets.tls',
                configType: {
                  case: 'typedConfig' as const,
                  value: anyPack(DownstreamTlsContextSchema, context),
                },
              },
            }
          : {}),
      },
    ],
  });
}

export class TestControlPlane {
  readonly authority: CertificateAuthority;
  readonly issuer: TokenIssuer;
  readonly nodes: string[] = [];
  readonly nacks: string[] = [];
  readonly #resources = new Map<string, ServedResource[]>();
  readonly #server: XdsServer<object, true>;
  #grpc: GrpcServer | undefined;
  port = 0;

  private constructor(authority: CertificateAuthority, issuer: TokenIssuer) {
    this.authority = authority;
    this.issuer = issuer;
    this.#server = new XdsServer({
      source: {
        open: (node) => {
          this.nodes.push(node.id);
          return {};
        },
        generate: (_client, typeUrl, { wildcard, names }) => ({
          version: '1',
          resources: (this.#resources.get(typeUrl) ?? []).filter(({ name }) => wildcard || names.has(name)),
        }),
        mergePushes: () => true,
        close: () => {},
        onNack: (_client, _typeUrl, _nonce, _version, detail) => this.nacks.push(detail),
      },
    });
  }

  static async start(): Promise<TestControlPlane> {
    const authority = await CertificateAuthority.open({ trustDomain: 'cluster.local' });
    const plane = new TestControlPlane(authority, await TokenIssuer.open());
    await plane.listen();
    return plane;
  }

  async listen(): Promise<void> {
    const { authority, issuer } = this;
    const keys = { kind: 'key' as const, publicKey: issuer.publicKey };
    const authenticators = [
      jwtAuthenticator({ issuers: [issuer.issuer], keys, trustDomain: 'cluster.local' }),
      clientCertificateAuthenticator(authority),
    ];
    const { certChain, privateKey } = await authority.issueServing({ uris: [], dnsNames: [testServerName] });
    this.#grpc = new GrpcServer({
      routes: (router) => {
        registerAds(router, this.#server);
        registerCaService(router, {
          authority,
          authenticators,
          metrics: new MetricsRegistry(),
          log: silentLogger,
        });
      },
      contextValues: connectionContextValues,
      tls: { cert: certChain, key: privateKey, clientCa: authority.rootPem },
    });
    this.port = await this.#grpc.listen({ host: '127.0.0.1', port: this.port });
  }

  async stop(): Promise<void> {
    await this.#grpc?.close();
    this.#grpc = undefined;
  }

  setListeners(...listeners: Listener[]): void {
    this.#set(
      typeUrls.lds,
      listeners.map((listener) => encodeResource(ListenerSchema, listener.name, listener)),
    );
  }

  /** Names of services, `name.namespace.svc.cluster.local`. */
  setNames(table: Record<string, string[]>): void {
    const entries = Object.entries(table).map(([host, ips]) => {
      const [shortname = '', namespace = ''] = host.split('.');
      return [host, { ips, registry: 'Kubernetes', shortname, namespace }] as const;
    });
    const names = create(NameTableSchema, { table: Object.fromEntries(entries) });
    this.#set(typeUrls.nds, [encodeResource(NameTableSchema, '', names)]);
  }

  #set(typeUrl: string, resources: ServedResource[]): void {
    this.#resources.set(typeUrl, resources);
    for (const client of this.#server.clients) void this.#server.push(client, undefined, true);
  }
}
