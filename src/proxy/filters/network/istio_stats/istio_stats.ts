/** `istio.stats` on TCP: Istio's standard metrics of connections, counted while they are open and at their end. */
import type { Counter } from '#telemetry/metrics.ts';
import {
  NetworkFilterStatus,
  type NetworkReadFilter,
  type ReadFilterCallbacks,
} from '../../../network/filter.ts';
import { type TimerHandle, workerTimers } from '../../../network/timer_wheel.ts';
import { connectionStream } from '../../../stream_info/connection_stream.ts';
import { formatResponseFlags } from '../../../stream_info/response_flags.ts';
import { StreamInfo } from '../../../stream_info/stream_info.ts';
import { type Ends, securityPolicy } from '../../istio_stats/ends.ts';
import { connectionLabels, endLabels } from '../../istio_stats/labels.ts';
import type { StatsShared } from '../../istio_stats/stats_shared.ts';

const names: readonly string[] = [...endLabels, ...connectionLabels];

/** Handles of all connections that share every label. */
interface ConnectionSeries {
  readonly opened: Counter;
  readonly closed: Counter;
  readonly sent: Counter;
  readonly received: Counter;
}

function bind(shared: StatsShared, ends: Ends, flags: number, mutual: boolean): ConnectionSeries {
  const values = ['tcp', formatResponseFlags(flags), securityPolicy(shared.ends.reporter, mutual)];
  return {
    opened: shared.counter('tcp_connections_opened_total', ends, names, values),
    closed: shared.counter('tcp_connections_closed_total', ends, names, values),
    sent: shared.counter('tcp_sent_bytes_total', ends, names, values),
    received: shared.counter('tcp_received_bytes_total', ends, names, values),
  };
}

function seriesOf(shared: StatsShared, info: StreamInfo): ConnectionSeries {
  const service = shared.services.find(info.routeName, info.clusterName, info.clusterMetadata, '');
  const ends = shared.ends.find(info, service);
  const mutual =
    shared.ends.reporter === 'destination' && info.connection.tls?.peerCertificateValidated === true;
  const key = info.responseFlags * 2 + (mutual ? 1 : 0);
  let series = ends.series.get(key) as ConnectionSeries | undefined;
  if (series === undefined) {
    series = bind(shared, ends, info.responseFlags, mutual);
    ends.series.set(key, series);
  }
  return series;
}

function onTick(filter: TcpStatsFilter): void {
  filter.tick();
}

export class TcpStatsFilter implements NetworkReadFilter {
  readonly #shared: StatsShared;
  #callbacks: ReadFilterCallbacks | undefined = undefined;
  #timer: TimerHandle | undefined = undefined;
  #opened = false;
  /** Bytes counted so far. */
  #sent = 0;
  #received = 0;

  constructor(shared: StatsShared) {
    this.#shared = shared;
  }

  onNewConnection(callbacks: ReadFilterCallbacks): NetworkFilterStatus {
    this.#callbacks = callbacks;
    this.#arm();
    return NetworkFilterStatus.continue;
  }

  #arm(): void {
    this.#timer = workerTimers.schedule(this.#shared.config.tcpReportingMs, onTick, this);
  }

  tick(): void {
    this.#arm();
    const info = this.#callbacks && connectionStream(this.#callbacks.connection.info);
    // Labels are known once a host was asked.
    if (info?.upstream !== undefined) this.#report(info);
  }

  #report(info: StreamInfo): ConnectionSeries {
    const series = seriesOf(this.#shared, info);
    if (!this.#opened) {
      this.#opened = true;
      series.opened.inc();
    }
    series.sent.inc(info.bytesSent - this.#sent);
    series.received.inc(info.bytesReceived - this.#received);
    this.#sent = info.bytesSent;
    this.#received = info.bytesReceived;
    return series;
  }

  onClose(): void {
    workerTimers.cancel(this.#timer);
    const connection = this.#callbacks?.connection.info;
    if (connection === undefined) return;
    // tcp_proxy hears of the end after this filter and completes its record then.
    process.nextTick(() => {
      const info = connectionStream(connection) ?? new StreamInfo(connection, '');
      this.#report(info).closed.inc();
    });
  }
}
