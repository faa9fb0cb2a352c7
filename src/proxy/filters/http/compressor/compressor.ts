/** Compresses the body of a response where client, response and configuration agree (envoy CompressorFilter). */
import { FilterStatus, type FilterCallbacks, type HttpFilter } from '../../../http/filter.ts';
import type { RequestHeaderMap, ResponseHeaderMap } from '../../../http/header_map.ts';
import type { CompressorSettings, RouteCompressor } from './config.ts';
import { CompressedStream, type CompressorLibrary } from './libraries.ts';
import { type Negotiated, negotiate } from './negotiation.ts';

/** What all compressors of a chain share of one request. */
interface Negotiation {
  readonly acceptEncoding: string | undefined;
  readonly filters: CompressorSettings[];
  decided: Negotiated | undefined;
}

const stateKey = 'trysail.compressors';
const noBytes = Buffer.alloc(0);

/** As Envoy: letters as they are. */
function hasToken(value: string | undefined, token: string): boolean {
  return value !== undefined && value.split(',').some((one) => one.trim() === token);
}

function addVary(headers: ResponseHeaderMap): void {
  const vary = headers.get('vary');
  if (vary === undefined || vary === '') headers.set('vary', 'Accept-Encoding');
  else if (!hasToken(vary, 'Accept-Encoding')) headers.set('vary', `${vary}, Accept-Encoding`);
}

export class CompressorFilter implements HttpFilter {
  readonly #callbacks: FilterCallbacks;
  readonly #settings: CompressorSettings;
  #stream: CompressedStream | undefined = undefined;

  constructor(callbacks: FilterCallbacks, settings: CompressorSettings) {
    this.#callbacks = callbacks;
    this.#settings = settings;
  }

  #route(): RouteCompressor | undefined {
    return this.#callbacks.route()?.perFilterConfig(this.#settings.filterName) as RouteCompressor | undefined;
  }

  #enabled(route: RouteCompressor | undefined): boolean {
    if (route !== undefined) return !route.disabled;
    return this.#settings.enabled();
  }

  decodeHeaders(headers: RequestHeaderMap): FilterStatus {
    const info = this.#callbacks.streamInfo;
    let shared = info.filterState?.get(stateKey) as Negotiation | undefined;
    if (shared === undefined) {
      shared = { acceptEncoding: headers.get('accept-encoding'), filters: [], decided: undefined };
      info.setFilterState(stateKey, shared);
    }
    shared.filters.push(this.#settings);
    const route = this.#route();
    if (this.#enabled(route) && (route?.removeAcceptEncoding ?? this.#settings.removeAcceptEncoding))
      headers.remove('accept-encoding');
    return FilterStatus.continue;
  }

  encodeHeaders(headers: ResponseHeaderMap, endStream: boolean): FilterStatus {
    const { stats } = this.#settings;
    const route = this.#route();
    const wanted = this.#enabled(route) && this.#isLongEnough(headers);
    const compressible = wanted && this.#isCompressible(headers);
    if (!endStream && wanted && this.#isAccepted(headers) && compressible)
      this.#start(headers, route?.library ?? this.#settings.library);
    else stats.not_compressed.value++;
    if (compressible) addVary(headers);
    return FilterStatus.continue;
  }

  #isLongEnough(headers: ResponseHeaderMap): boolean {
    const length = headers.getFirst('content-length');
    // Without a length only chunked framing says that there is a body to come, which HTTP/2 does not have.
    if (length === undefined) return this.#callbacks.streamInfo.upstream?.protocol !== 'HTTP/2';
    if (Number(length) >= this.#settings.minBytes) return true;
    this.#settings.stats.content_length_too_small.value++;
    return false;
  }

  #isCompressible(headers: ResponseHeaderMap): boolean {
    const { allowsType, uncompressible, disableOnEtag, stats } = this.#settings;
    const type = headers.getFirst('content-type');
    if (headers.status === 101 || (type !== undefined && !allowsType(type))) return false;
    if (hasToken(headers.get('cache-control')?.toLowerCase(), 'no-transform')) return false;
    if (disableOnEtag && headers.has('etag')) {
      stats.not_compressed_etag.value++;
      return false;
    }
    return !headers.has('content-encoding') && !uncompressible.has(headers.status);
  }

  #isAccepted(headers: ResponseHeaderMap): boolean {
    const { stats, library } = this.#settings;
    const shared = this.#callbacks.streamInfo.filterState?.get(stateKey) as Negotiation | undefined;
    const accept = shared?.acceptEncoding;
    if (shared === undefined || accept === undefined) {
      stats.no_accept_header.value++;
      return false;
    }
    shared.decided ??= this.#decide(shared.filters, accept, headers);
    const { encoding, choice } = shared.decided;
    const own = encoding === library.encoding;
    if (choice !== 'header_compressor_used') stats[choice].value++;
    else if (!own) stats.header_compressor_overshadowed.value++;
    else stats.header_compressor_used.value++;
    return own;
  }

  #decide(filters: readonly CompressorSettings[], accept: string, headers: ResponseHeaderMap): Negotiated {
    const type = headers.getFirst('content-type');
    const able = filters.filter(({ allowsType }) => type === undefined || type === '' || allowsType(type));
    return negotiate(
      accept,
      able.map(({ library }) => library.encoding),
      new Set(able.filter(({ chooseFirst }) => chooseFirst).map(({ library }) => library.encoding)),
    );
  }

  #start(headers: ResponseHeaderMap, library: CompressorLibrary): void {
    const { stats, weakenEtag } = this.#settings;
    // A strong validator is not that of the compressed body.
    const etag = headers.getFirst('etag');
    if (etag !== undefined && !/^w\//i.test(etag)) {
      if (weakenEtag) headers.set('etag', `W/${etag}`);
      else headers.remove('etag');
    }
    headers.remove('content-length');
    headers.set('content-encoding', library.encoding);
    stats.compressed.value++;
    this.#stream = new CompressedStream(library);
  }

  encodeData(data: Buffer, endStream: boolean): FilterStatus {
    const stream = this.#stream;
    if (stream === undefined) return FilterStatus.continue;
    this.#callbacks.replaceEncodedData(this.#write(stream, data, endStream));
    return FilterStatus.continue;
  }

  encodeTrailers(): FilterStatus {
    const stream = this.#stream;
    if (stream !== undefined) this.#callbacks.replaceEncodedData(this.#write(stream, noBytes, true));
    return FilterStatus.continue;
  }

  #write(stream: CompressedStream, data: Buffer, end: boolean): Buffer {
    const { stats } = this.#settings;
    const compressed = stream.write(data, end);
    stats.total_uncompressed_bytes.value += data.length;
    stats.total_compressed_bytes.value += compressed.length;
    if (end) this.onDestroy();
    return compressed;
  }

  onDestroy(): void {
    this.#stream?.close();
    this.#stream = undefined;
  }
}
