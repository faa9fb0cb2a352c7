/** Peers by the header that told of them, so that each value is decoded once. */
import { decodePeer, type WorkloadPeer } from './peer.ts';

/** Longer values are not looked at, characters. */
const maxHeaderLength = 16 * 1024;
/** Values of one generation; two are kept. */
const generationSize = 512;

/** Bounded: what was not asked for during one generation is forgotten. */
export class PeerCache {
  #young = new Map<string, WorkloadPeer | undefined>();
  #old = new Map<string, WorkloadPeer | undefined>();
  #lastHeader = '';
  #lastPeer: WorkloadPeer | undefined = undefined;

  /** Undefined when the value tells nothing. */
  find(header: string): WorkloadPeer | undefined {
    if (header === this.#lastHeader) return this.#lastPeer;
    if (header.length > maxHeaderLength) return undefined;
    const peer = this.#lookUp(header);
    this.#lastHeader = header;
    this.#lastPeer = peer;
    return peer;
  }

  #lookUp(header: string): WorkloadPeer | undefined {
    const young = this.#young.get(header);
    if (young !== undefined) return young;
    const peer = this.#old.has(header) ? this.#old.get(header) : decodePeer(header);
    if (this.#young.size >= generationSize) {
      this.#old = this.#young;
      this.#young = new Map();
    }
    this.#young.set(header, peer);
    return peer;
  }

  /** Values remembered. */
  get size(): number {
    return this.#young.size + this.#old.size;
  }
}

/** The peers of this worker: one cache, so that a workload is the same object in all filters. */
export const workerPeers: PeerCache = new PeerCache();
