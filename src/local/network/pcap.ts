/** Reading a packet capture (pcap, as tcpdump writes) as TCP payloads of single flows. */

/** One TCP segment with payload. */
export interface Segment {
  /** Source and destination, one direction of a connection. */
  readonly flow: string;
  readonly payload: Buffer;
}

const fileHeaderBytes = 24;
const recordHeaderBytes = 16;
const ethernetHeaderBytes = 14;
const ipv4EtherType = 0x0800;
const tcpProtocol = 6;
/** tcpdump's largest packet; a longer one means that the stream is not what we think. */
const maxPacketBytes = 262_144;

/** Takes a capture in pieces. */
export class PcapReader {
  #rest: Buffer = Buffer.alloc(0);
  #littleEndian: boolean | undefined;

  /**
   * The packets that are complete now, each from its Ethernet header on.
   * @throws RangeError when the stream is no capture
   */
  read(piece: Buffer): Buffer[] {
    let data = this.#rest.length === 0 ? piece : Buffer.concat([this.#rest, piece]);
    if (this.#littleEndian === undefined) {
      if (data.length < fileHeaderBytes) {
        this.#rest = data;
        return [];
      }
      this.#littleEndian = data.readUInt32LE(0) === 0xa1b2c3d4;
      if (!this.#littleEndian && data.readUInt32BE(0) !== 0xa1b2c3d4)
        throw new RangeError('not a packet capture');
      data = data.subarray(fileHeaderBytes);
    }
    const packets: Buffer[] = [];
    while (data.length >= recordHeaderBytes) {
      const size = this.#littleEndian ? data.readUInt32LE(8) : data.readUInt32BE(8);
      if (size > maxPacketBytes) throw new RangeError(`packet of ${size} bytes in a capture`);
      if (data.length < recordHeaderBytes + size) break;
      packets.push(data.subarray(recordHeaderBytes, recordHeaderBytes + size));
      data = data.subarray(recordHeaderBytes + size);
    }
    this.#rest = data;
    return packets;
  }
}

/** The TCP payload of an Ethernet frame with IPv4; undefined when it has none. */
export function tcpSegment(frame: Buffer): Segment | undefined {
  if (frame.length < ethernetHeaderBytes + 40 || frame.readUInt16BE(12) !== ipv4EtherType) return undefined;
  const ip = frame.subarray(ethernetHeaderBytes);
  const ipHeaderBytes = ((ip[0] ?? 0) & 0x0f) * 4;
  if (ip[9] !== tcpProtocol) return undefined;
  const tcp = ip.subarray(ipHeaderBytes, ip.readUInt16BE(2));
  if (tcp.length < 20) return undefined;
  const payload = tcp.subarray(((tcp[12] ?? 0) >> 4) * 4);
  if (payload.length === 0) return undefined;
  const address = (offset: number): string => ip.subarray(offset, offset + 4).join('.');
  return {
    flow: `${address(12)}:${tcp.readUInt16BE(0)}>${address(16)}:${tcp.readUInt16BE(2)}`,
    payload,
  };
}
