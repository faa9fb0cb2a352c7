/** `envoy.filters.http.ext_authz`: a service outside says whether a request may pass. */
import type { Counter } from '#telemetry/metrics.ts';
import { type FilterCallbacks, FilterStatus, type HttpFilter } from '../../../http/filter.ts';
import type { RequestHeaderMap, ResponseHeaderMap } from '../../../http/header_map.ts';
import { localReplies } from '../../../http/local_reply.ts';
import type { RouteEntry } from '../../../router/route_entry.ts';
import { ResponseFlag } from '../../../stream_info/response_flags.ts';
import type { StreamInfo } from '../../../stream_info/stream_info.ts';
import { changeQuery, changeRequest, changeResponse, validChanges } from './mutations.ts';
import type { BodySettings, ExtAuthzSettings, RouteSettings } from './settings.ts';
import type { Allowed, Check, CheckBody, Denied, OnVerdict, Verdict } from './verdict.ts';

/** Name of its dynamic metadata. */
export const extAuthzName = 'envoy.filters.http.ext_authz';

export interface ExtAuthzStats {
  readonly ok: Counter;
  readonly denied: Counter;
  readonly error: Counter;
  readonly disabled: Counter;
  readonly failureModeAllowed: Counter;
  readonly invalid: Counter;
}

/** Counters under the cluster that the request was for. */
export interface ClusterAuthzStats {
  readonly ok: Counter;
  readonly denied: Counter;
  readonly error: Counter;
  readonly failureModeAllowed: Counter;
  readonly invalid: Counter;
}

/** What the filters of one chain share. */
export interface ExtAuthzShared {
  readonly filterName: string;
  readonly settings: ExtAuthzSettings;
  readonly stats: ExtAuthzStats;
  clusterStats(cluster: string): ClusterAuthzStats;
  check(
    request: RequestHeaderMap,
    info: StreamInfo,
    route: RouteEntry | undefined,
    contextExtensions: Readonly<Record<string, string>>,
    body: CheckBody | undefined,
    onVerdict: OnVerdict,
  ): Check;
  random(): number;
}

const State = { begin: 0, buffering: 1, asking: 2, done: 3 } as const;
type State = (typeof State)[keyof typeof State];

const noExtensions: Readonly<Record<string, string>> = {};
const noBytes = Buffer.alloc(0);

export class ExtAuthzFilter implements HttpFilter {
  readonly #callbacks: FilterCallbacks;
  readonly #shared: ExtAuthzShared;
  #state: State = State.begin;
  #body: BodySettings | undefined = undefined;
  #extensions = noExtensions;
  #check: Check | undefined = undefined;
  /** Continues the request from inside the hook that asked. */
  #inCall = false;
  #passed = false;
  #askedAt = NaN;
  #allowed: Allowed | undefined = undefined;

  constructor(callbacks: FilterCallbacks, shared: ExtAuthzShared) {
    this.#callbacks = callbacks;
    this.#shared = shared;
  }

  decodeHeaders(headers: RequestHeaderMap, endStream: boolean): FilterStatus {
    const { settings, filterName, stats } = this.#shared;
    const callbacks = this.#callbacks;
    const route = callbacks.route() as RouteEntry | undefined;
    // Without a route there is nothing to guard: the router answers 404.
    if (route === undefined) return this.#pass();
    const levels = route.perFilterConfigs(filterName) as readonly RouteSettings[];
    this.#body = settings.body;
    for (const level of levels) {
      if (level.body !== undefined) this.#body = level.body === 'off' ? undefined : level.body;
      this.#extensions =
        this.#extensions === noExtensions
          ? level.contextExtensions
          : { ...this.#extensions, ...level.contextExtensions };
    }
    if (levels.at(-1)?.disabled === true) return this.#pass();
    if (!this.#enabled()) {
      stats.disabled.value++;
      return settings.denyAtDisable ? this.#refuse('ext_authz_error') : this.#pass();
    }
    if (this.#body !== undefined && !endStream && headers.protocol === '') {
      this.#state = State.buffering;
      return FilterStatus.stopIteration;
    }
    return this.#ask(undefined, false);
  }

  #enabled(): boolean {
    const { settings } = this.#shared;
    const { enabledBy } = settings;
    const enabled = settings.enabled();
    if (enabled < 1 && (enabled === 0 || this.#shared.random() >= enabled)) return false;
    return enabledBy === undefined || enabledBy(this.#callbacks.streamInfo);
  }

  #pass(): FilterStatus {
    this.#state = State.done;
    return FilterStatus.continue;
  }

  decodeData(data: Buffer, endStream: boolean): FilterStatus {
    if (this.#state === State.done) return FilterStatus.continue;
    const body = this.#body;
    if (this.#state === State.asking || body === undefined) return FilterStatus.stopAndPause;
    const held = this.#callbacks.decodingBuffer() ?? noBytes;
    const size = held.length + data.length;
    const full = size > body.maxBytes || (body.allowPartial && size >= body.maxBytes);
    if (!endStream && !full) return FilterStatus.stopIteration;
    if (size > body.maxBytes && !body.allowPartial) {
      this.#state = State.done;
      this.#callbacks.sendLocalReply(localReplies.requestPayloadTooLarge);
      return FilterStatus.stopIteration;
    }
    return this.#ask(held.length === 0 ? data : Buffer.concat([held, data]), !endStream);
  }

  decodeTrailers(): FilterStatus {
    if (this.#state === State.done) return FilterStatus.continue;
    if (this.#state === State.asking) return FilterStatus.stopIteration;
    return this.#ask(this.#callbacks.decodingBuffer() ?? noBytes, false);
  }

  /** @param more the request goes on after these bytes. */
  #ask(bytes: Buffer | undefined, more: boolean): FilterStatus {
    const callbacks = this.#callbacks;
    const settings = this.#body;
    const body =
      bytes === undefined || settings === undefined
        ? undefined
        : {
            bytes: bytes.subarray(0, settings.maxBytes),
            heldBytes: bytes.length,
            partial: more || bytes.length > settings.maxBytes,
            asBytes: settings.asBytes,
          };
    this.#state = State.asking;
    this.#askedAt = performance.now();
    this.#inCall = true;
    const route = callbacks.route() as RouteEntry | undefined;
    const check = this.#shared.check(
      callbacks.requestHeaders() as RequestHeaderMap,
      callbacks.streamInfo,
      route,
      this.#extensions,
      body,
      (verdict) => this.#onVerdict(verdict),
    );
    this.#inCall = false;
    // The answer may have come already, and let the request pass or not.
    if (this.#asking()) {
      this.#check = check;
      return FilterStatus.stopAndPause;
    }
    return this.#passed ? FilterStatus.continue : FilterStatus.stopIteration;
  }

  #asking(): boolean {
    return this.#state === State.asking;
  }

  #onVerdict(verdict: Verdict): void {
    this.#check = undefined;
    this.#state = State.done;
    const { settings, stats } = this.#shared;
    const cluster = this.#callbacks.streamInfo.clusterStatName;
    const clusterStats = cluster === '' ? undefined : this.#shared.clusterStats(cluster);
    if (verdict.kind !== 'failed' && settings.ingestMetadata && verdict.metadata !== undefined)
      this.#callbacks.streamInfo.setDynamicMetadata(extAuthzName, this.#metadataOf(verdict));
    const changes = verdict.kind === 'failed' ? verdict.reply : verdict;
    if (changes !== undefined && !validChanges(changes)) {
      stats.invalid.value++;
      if (clusterStats !== undefined) clusterStats.invalid.value++;
      this.#refuse('ext_authz_invalid', 500);
      return;
    }
    switch (verdict.kind) {
      case 'allowed':
        stats.ok.value++;
        if (clusterStats !== undefined) clusterStats.ok.value++;
        this.#allow(verdict);
        return;
      case 'denied':
        stats.denied.value++;
        if (clusterStats !== undefined) clusterStats.denied.value++;
        this.#deny(verdict, 'ext_authz_denied');
        return;
      case 'failed':
        stats.error.value++;
        if (clusterStats !== undefined) clusterStats.error.value++;
        if (!settings.failureModeAllow) {
          if (verdict.reply === undefined) this.#refuse('ext_authz_error');
          else this.#deny(verdict.reply, 'ext_authz_error');
          return;
        }
        stats.failureModeAllowed.value++;
        if (clusterStats !== undefined) clusterStats.failureModeAllowed.value++;
        if (settings.failureModeAllowHeader)
          this.#callbacks.requestHeaders()?.set('x-envoy-auth-failure-mode-allowed', 'true');
        this.#continue();
    }
  }

  /** With how long the service took, milliseconds, when the request may pass. */
  #metadataOf({ kind, metadata = {} }: Allowed | Denied): Record<string, unknown> {
    if (kind === 'denied') return metadata;
    return { ext_authz_duration: Math.floor(performance.now() - this.#askedAt), ...metadata };
  }

  #allow(verdict: Allowed): void {
    const headers = this.#callbacks.requestHeaders();
    if (headers !== undefined) {
      const changed = changeRequest(headers, verdict);
      changeQuery(headers, verdict);
      if (changed && this.#shared.settings.clearRouteCache) this.#callbacks.clearRouteCache();
    }
    const { add, set, addIfAbsent, overwriteIfExists } = verdict.response;
    if (add.length + set.length + addIfAbsent.length + overwriteIfExists.length > 0) this.#allowed = verdict;
    this.#continue();
  }

  #continue(): void {
    this.#passed = true;
    if (!this.#inCall) this.#callbacks.continueDecoding();
  }

  #deny({ status, body, set, append }: Denied, details: string): void {
    const { maxDeniedBodyBytes } = this.#shared.settings;
    this.#callbacks.sendLocalReply({
      status: status === 0 ? 403 : status,
      body: maxDeniedBodyBytes === 0 ? body : body.slice(0, maxDeniedBodyBytes),
      details,
      flags: ResponseFlag.unauthorizedExternalService,
      modifyHeaders(response) {
        for (const [name] of set) response.remove(name);
        for (const [name, value] of set) response.add(name, value);
        for (const [name, value] of append) if (response.has(name)) response.add(name, value);
      },
    });
  }

  #refuse(details: string, status = this.#shared.settings.statusOnError): FilterStatus {
    this.#state = State.done;
    this.#callbacks.sendLocalReply({
      status,
      body: '',
      details,
      flags: ResponseFlag.unauthorizedExternalService,
    });
    return FilterStatus.stopIteration;
  }

  encodeHeaders(headers: ResponseHeaderMap): FilterStatus {
    if (this.#allowed !== undefined) changeResponse(headers, this.#allowed.response);
    return FilterStatus.continue;
  }

  onDestroy(): void {
    this.#check?.cancel();
    this.#check = undefined;
    this.#state = State.done;
  }
}
