/**
 * `envoy.filters.network.ext_authz`: a service outside says whether a connection may stay. It is asked when the connection
 * is there, before a byte of it is read.
 */
import { fromBinary, type JsonObject } from '@bufbuild/protobuf';
import { ApiVersion } from '#api/gen/envoy/config/core/v3/config_source_pb.ts';
import { ExtAuthzSchema } from '#api/gen/envoy/extensions/filters/network/ext_authz/v3/ext_authz_pb.ts';
import { Authorization, type CheckResponse } from '#api/gen/envoy/service/auth/v3/external_auth_pb.ts';
import { typeUrlOf } from '#api/type_urls.ts';
import type { Counter, Gauge } from '#telemetry/metrics.ts';
import type { NetworkFilterExtension } from '../../../factory_context.ts';
import type { ConnectionInfo } from '../../../network/connection.ts';
import {
  NetworkFilterStatus,
  type NetworkReadFilter,
  type ReadFilterCallbacks,
} from '../../../network/filter.ts';
import { GrpcCall, type GrpcTarget, readGrpcService } from '../../../upstream/async_client/grpc_call.ts';
import type { ClusterManager } from '../../../upstream/upstream.ts';
import { peersOf } from '../../http/ext_authz/check_request.ts';
import { compileMetadataMatcher } from '../../rbac/value_matcher.ts';

const filterName = 'envoy.filters.network.ext_authz';
const defaultTimeoutMs = 200;

interface Stats {
  readonly total: Counter;
  readonly ok: Counter;
  readonly denied: Counter;
  readonly error: Counter;
  readonly disabled: Counter;
  readonly failureModeAllowed: Counter;
  readonly cxClosed: Counter;
  readonly active: Gauge;
}

/** What the filters of one chain share. */
interface Shared {
  readonly clusters: ClusterManager;
  readonly target: GrpcTarget;
  readonly failureModeAllow: boolean;
  readonly includePeerCertificate: boolean;
  readonly includeTlsSession: boolean;
  readonly metadataNamespaces: readonly string[];
  readonly enabledBy: ((info: ConnectionInfo) => boolean) | undefined;
  readonly stats: Stats;
}

class ExtAuthzFilter implements NetworkReadFilter {
  readonly #shared: Shared;
  #callbacks: ReadFilterCallbacks | undefined = undefined;
  #call: { cancel(): void } | undefined = undefined;
  #inCall = false;
  #answered = false;
  #passed = false;

  constructor(shared: Shared) {
    this.#shared = shared;
  }

  onNewConnection(callbacks: ReadFilterCallbacks): NetworkFilterStatus {
    const shared = this.#shared;
    const { info } = callbacks.connection;
    if (shared.enabledBy !== undefined && !shared.enabledBy(info)) {
      shared.stats.disabled.value++;
      return NetworkFilterStatus.continue;
    }
    this.#callbacks = callbacks;
    shared.stats.total.value++;
    shared.stats.active.value++;
    const filterMetadata: Record<string, JsonObject> = {};
    for (const name of shared.metadataNamespaces) {
      const found = info.dynamicMetadata?.get(name);
      if (found !== undefined) filterMetadata[name] = found as JsonObject;
    }
    this.#inCall = true;
    const call = new GrpcCall(
      shared.target,
      Authorization.method.check,
      {
        attributes: {
          ...peersOf(info, shared.includePeerCertificate, ''),
          metadataContext: { filterMetadata },
          ...(shared.includeTlsSession && info.tls !== undefined
            ? { tlsSession: { sni: info.requestedServerName } }
            : {}),
        },
      },
      { onResponse: (response) => this.#onAnswer(response), onFailure: () => this.#onFailure() },
      info,
    );
    this.#call = call;
    call.start(shared.clusters);
    this.#inCall = false;
    return this.#passed ? NetworkFilterStatus.continue : NetworkFilterStatus.stopIteration;
  }

  #end(): void {
    this.#answered = true;
    this.#call = undefined;
    this.#shared.stats.active.value--;
  }

  #onAnswer(response: CheckResponse): void {
    this.#end();
    const { stats } = this.#shared;
    if (response.dynamicMetadata !== undefined) {
      const info = this.#callbacks?.connection.info;
      if (info !== undefined) {
        info.dynamicMetadata ??= new Map();
        info.dynamicMetadata.set(filterName, { ...response.dynamicMetadata });
      }
    }
    if ((response.status?.code ?? 0) === 0) {
      stats.ok.value++;
      this.#pass();
      return;
    }
    stats.denied.value++;
    this.#refuse();
  }

  #onFailure(): void {
    this.#end();
    const { stats, failureModeAllow } = this.#shared;
    stats.error.value++;
    if (!failureModeAllow) {
      this.#refuse();
      return;
    }
    stats.failureModeAllowed.value++;
    this.#pass();
  }

  #pass(): void {
    this.#passed = true;
    if (!this.#inCall) this.#callbacks?.continueReading();
  }

  #refuse(): void {
    this.#shared.stats.cxClosed.value++;
    this.#callbacks?.close('ext_authz_close');
  }

  onClose(): void {
    if (this.#callbacks === undefined || this.#answered) return;
    this.#call?.cancel();
    this.#end();
  }
}

export const networkExtAuthz = {
  name: filterName,
  typeUrls: [typeUrlOf(ExtAuthzSchema)],
  create(config, context) {
    const proto = fromBinary(ExtAuthzSchema, config.value);
    if (proto.statPrefix === '') throw new Error('stat_prefix is missing');
    if (proto.transportApiVersion !== ApiVersion.V3) throw new Error('transport_api_version must be V3');
    if (proto.typedMetadataContextNamespaces.length > 0)
      throw new Error('typed_metadata_context_namespaces is not implemented');
    if (proto.sendTlsAlertOnDenial) throw new Error('send_tls_alert_on_denial is not implemented');
    if (proto.bootstrapMetadataLabelsKey !== '')
      throw new Error('bootstrap_metadata_labels_key is not implemented');
    if (proto.shadowMode) throw new Error('shadow_mode is not implemented');
    const labels = { envoy_ext_authz_prefix: proto.statPrefix };
    const counter = (name: string): Counter => context.metrics.counter(`envoy_ext_authz_${name}`, labels);
    const matcher = proto.filterEnabledMetadata;
    const shared: Shared = {
      clusters: context.clusterManager,
      target: readGrpcService(proto.grpcService, defaultTimeoutMs),
      failureModeAllow: proto.failureModeAllow,
      includePeerCertificate: proto.includePeerCertificate,
      includeTlsSession: proto.includeTlsSession,
      metadataNamespaces: proto.metadataContextNamespaces,
      enabledBy:
        matcher === undefined
          ? undefined
          : compileMetadataMatcher<ConnectionInfo>(matcher, (info, name) => info.dynamicMetadata?.get(name)),
      stats: {
        total: counter('total'),
        ok: counter('ok'),
        denied: counter('denied'),
        error: counter('error'),
        disabled: counter('disabled'),
        failureModeAllowed: counter('failure_mode_allowed'),
        cxClosed: counter('cx_closed'),
        active: context.metrics.gauge('envoy_ext_authz_active', labels),
      },
    };
    return { terminal: false, create: () => new ExtAuthzFilter(shared) };
  },
} as const satisfies NetworkFilterExtension;
