/**
 * `istio.stats` on HTTP: Istio's standard metrics of requests. A request that is like one before costs a few number
 * additions and builds no string. On the hot path: bench/micro/istio_stats.ts.
 */
import { type FilterCallbacks, FilterStatus, type HttpFilter } from '../../../http/filter.ts';
import { httpToGrpcStatus, isGrpcRequest } from '../../../http/grpc.ts';
import type { HeaderMap } from '../../../http/header_map.ts';
import { HeaderFlag } from '../../../http/header_names.ts';
import { formatResponseFlags } from '../../../stream_info/response_flags.ts';
import type { StreamInfo } from '../../../stream_info/stream_info.ts';
import type { ClusterManager } from '../../../upstream/upstream.ts';
import type { Counter, Histogram } from '#telemetry/metrics.ts';
import { type Ends, securityPolicy } from '../../istio_stats/ends.ts';
import { endLabels, requestLabels } from '../../istio_stats/labels.ts';
import type { ServiceIdentity } from '../../istio_stats/service_directory.ts';
import type { StatsShared } from '../../istio_stats/stats_shared.ts';
import { grpcStatsKey, type GrpcMessageCounts } from '../grpc_stats/grpc_stats.ts';

const names: readonly string[] = [...endLabels, ...requestLabels];

/** Handles of all requests that share every label. */
interface RequestSeries {
  readonly requests: Counter;
  readonly duration: Histogram;
  readonly requestBytes: Histogram;
  readonly responseBytes: Histogram;
  /** Undefined for requests that are no gRPC calls. */
  readonly requestMessages: Counter | undefined;
  readonly responseMessages: Counter | undefined;
}

/** gRPC knows 17 statuses; others count as unknown (2), as gRPC libraries read them. */
const unknownStatus = 2;
const lastStatus = 16;

function readStatus(text: string | undefined): number | undefined {
  if (text === undefined || !/^\d{1,3}$/.test(text)) return undefined;
  const status = Number(text);
  return status > lastStatus ? unknownStatus : status;
}

/** What the requests of one chain share. */
export class RequestStats {
  readonly #shared: StatsShared;
  readonly #clusters: ClusterManager;

  constructor(shared: StatsShared, clusters: ClusterManager) {
    this.#shared = shared;
    this.#clusters = clusters;
  }

  /** Counts a finished request. */
  record(callbacks: FilterCallbacks, trailers: HeaderMap | undefined): void {
    const info = callbacks.streamInfo;
    const request = callbacks.requestHeaders();
    const { ends: table } = this.#shared;
    const ends = table.find(info, this.#serviceOf(callbacks, info, request?.authority ?? ''));
    const grpc =
      request !== undefined && (request.seen & HeaderFlag.contentType) !== 0 && isGrpcRequest(request);
    const grpcStatus = grpc
      ? (readStatus(trailers?.getFirst('grpc-status')) ??
        readStatus(callbacks.responseHeaders()?.getFirst('grpc-status')) ??
        httpToGrpcStatus(info.responseCode))
      : -1;
    const mutual = table.reporter === 'destination' && info.connection.tls?.peerCertificateValidated === true;
    // One number for all that differs between requests of the same ends: 29 bits of flags above 17 of the rest.
    const rest = ((info.responseCode << 5) | (grpcStatus + 1)) * 2 + (mutual ? 1 : 0);
    const key = info.responseFlags === 0 ? rest : info.responseFlags * 0x2_0000 + rest;
    let series = ends.series.get(key) as RequestSeries | undefined;
    if (series === undefined) {
      series = this.#bind(ends, info, grpcStatus, mutual);
      ends.series.set(key, series);
    }
    series.requests.value++;
    series.duration.observe(Math.floor(info.end - info.start));
    series.requestBytes.observe(info.wireBytesReceived || info.bytesReceived);
    series.responseBytes.observe(info.wireBytesSent || info.bytesSent);
    if (series.requestMessages !== undefined) this.#countMessages(series, info);
  }

  /** Requests that were answered before a cluster was chosen have one by their route. */
  #serviceOf(callbacks: FilterCallbacks, info: StreamInfo, authority: string): ServiceIdentity {
    const { services } = this.#shared;
    if (info.clusterName !== '')
      return services.find(info.routeName, info.clusterName, info.clusterMetadata, authority);
    const route = callbacks.route();
    if (route === undefined) return services.find(info.routeName, '', undefined, authority);
    const metadata = this.#clusters.get(route.clusterName)?.metadata;
    return services.find(route.name, route.clusterName, metadata, authority);
  }

  #countMessages(series: RequestSeries, info: StreamInfo): void {
    const counts = info.filterState?.get(grpcStatsKey) as GrpcMessageCounts | undefined;
    if (counts === undefined) return;
    series.requestMessages?.inc(counts.requestMessageCount);
    series.responseMessages?.inc(counts.responseMessageCount);
  }

  #bind(ends: Ends, info: StreamInfo, grpcStatus: number, mutual: boolean): RequestSeries {
    const shared = this.#shared;
    const grpc = grpcStatus >= 0;
    const values = [
      grpc ? 'grpc' : 'http',
      String(info.responseCode),
      grpc ? String(grpcStatus) : '',
      formatResponseFlags(info.responseFlags),
      securityPolicy(shared.ends.reporter, mutual),
    ];
    return {
      requests: shared.counter('requests_total', ends, names, values),
      duration: shared.histogram('request_duration_milliseconds', ends, names, values),
      requestBytes: shared.histogram('request_bytes', ends, names, values),
      responseBytes: shared.histogram('response_bytes', ends, names, values),
      requestMessages: grpc ? shared.counter('request_messages_total', ends, names, values) : undefined,
      responseMessages: grpc ? shared.counter('response_messages_total', ends, names, values) : undefined,
    };
  }
}

export class IstioStatsFilter implements HttpFilter {
  readonly #stats: RequestStats;
  readonly #callbacks: FilterCallbacks;
  #trailers: HeaderMap | undefined = undefined;

  constructor(stats: RequestStats, callbacks: FilterCallbacks) {
    this.#stats = stats;
    this.#callbacks = callbacks;
  }

  encodeTrailers(trailers: HeaderMap): FilterStatus {
    this.#trailers = trailers;
    return FilterStatus.continue;
  }

  onStreamComplete(): void {
    this.#stats.record(this.#callbacks, this.#trailers);
  }
}
