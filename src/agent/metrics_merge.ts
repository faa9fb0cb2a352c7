/** One page of metrics for a pod: the agent's and the proxy's, then those of its applications. */
import type { Logger } from '#base/log.ts';
import { mergeSnapshots, type MetricsRegistry } from '#telemetry/metrics.ts';
import {
  prometheusContentType,
  toPrometheusText,
  toPrometheusTextInSlices,
} from '#telemetry/prometheus_text.ts';
import type { DataPlaneStats } from './data_plane/data_plane.ts';
import { fetchText } from './http_fetch.ts';
import type { ScrapeTarget } from './options.ts';

/** Most bytes taken from one application. */
export const maxTargetBytes = 10 * 1024 * 1024;

/** Limit of one application's scrape when the scraper names none, milliseconds. */
const defaultTimeoutMs = 10_000;

/** Longest limit a scraper may ask for, milliseconds. */
const maxTimeoutMs = 60_000;

export interface MergeOptions {
  readonly metrics: MetricsRegistry;
  /** The proxy's page; undefined while it does not run. */
  readonly proxyStats: () => Promise<DataPlaneStats | undefined>;
  readonly targets: readonly ScrapeTarget[];
  readonly log: Logger;
}

export interface MergedPage {
  readonly contentType: string;
  readonly body: string;
}

/** Headers of the scraper that matter. */
export interface ScrapeRequest {
  readonly accept?: string;
  /** `X-Prometheus-Scrape-Timeout-Seconds`. */
  readonly timeoutSeconds?: string;
}

function timeoutOf(request: ScrapeRequest): number {
  const seconds = Number(request.timeoutSeconds);
  return seconds > 0 ? Math.min(seconds * 1000, maxTimeoutMs) : defaultTimeoutMs;
}

function isOpenMetrics(contentType: string | undefined): boolean {
  return contentType?.startsWith('application/openmetrics-text') === true;
}

/**
 * Scrapes everything at once; what fails is left out and counted. The page is OpenMetrics only when the one application
 * answers so, for its end marker must be the last line.
 */
export async function mergeMetrics(options: MergeOptions, request: ScrapeRequest): Promise<MergedPage> {
  const { metrics, targets } = options;
  const failed = (type: string, error: unknown): void => {
    metrics
      .counter('istio_agent_scrape_failures_total', { type }, 'Scrapes that failed, by what was scraped.')
      .inc();
    options.log.warn('scrape failed', { type, error });
  };
  metrics.counter('istio_agent_scrapes_total', {}, 'Scrapes of the merged page.').inc();
  const fromProxy = options.proxyStats().catch((error: unknown) => {
    failed('envoy', error);
    return undefined;
  });
  const [only] = targets;
  const accept =
    targets.length === 1 && request.accept !== undefined ? request.accept : 'text/plain;version=0.0.4';
  const fromTargets = targets.map((target) =>
    scrape(target, accept, timeoutOf(request)).catch((error: unknown) => {
      failed('application', error);
      return undefined;
    }),
  );
  const pages = await Promise.all(fromTargets);
  const proxy = await fromProxy;
  const own =
    proxy?.kind === 'snapshot'
      ? await toPrometheusTextInSlices(mergeSnapshots([metrics.snapshot(), proxy.snapshot]))
      : toPrometheusText(metrics.snapshot()) + (proxy === undefined ? '' : endLine(proxy.text));
  const openMetrics = only !== undefined && isOpenMetrics(pages[0]?.contentType);
  return {
    contentType: openMetrics ? (pages[0]?.contentType ?? '') : prometheusContentType,
    body: own + pages.map((page) => (page === undefined ? '' : endLine(page.body))).join(''),
  };
}

function endLine(text: string): string {
  return text === '' || text.endsWith('\n') ? text : `${text}\n`;
}

async function scrape(
  target: ScrapeTarget,
  accept: string,
  timeoutMs: number,
): Promise<{ contentType: string | undefined; body: string }> {
  const { status, headers, body } = await fetchText({
    address: target.address ?? '127.0.0.1',
    port: target.port,
    path: target.path,
    headers: { accept, 'x-prometheus-scrape-timeout-seconds': String(timeoutMs / 1000) },
    timeoutMs,
    maxBytes: maxTargetBytes,
  });
  if (status !== 200) throw new Error(`status ${status} of port ${target.port}`);
  return { contentType: headers['content-type'], body };
}
