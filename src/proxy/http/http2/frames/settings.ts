/** SETTINGS (RFC 9113 6.5). */
import type { Violation } from '../error_codes.ts';
import { violations } from '../violations.ts';
import { FrameFlag, FrameType, frameHeader, readUint32, stream0, uint32Text } from './frame_header.ts';

export const SettingId = {
  headerTableSize: 1,
  enablePush: 2,
  maxConcurrentStreams: 3,
  initialWindowSize: 4,
  maxFrameSize: 5,
  maxHeaderListSize: 6,
  /** RFC 8441 3. */
  enableConnectProtocol: 8,
} as const;

const settingBytes = 6;
const maxWindow = 0x7fff_ffff;

/** What a peer has told us; what it has not told has the RFC's initial value. */
export class PeerSettings {
  maxConcurrentStreams = 0xffff_ffff;
  initialWindowSize = 65_535;
  maxFrameSize = 16_384;
  enableConnectProtocol = false;
}

export const settingsAck: string = frameHeader(0, FrameType.settings, FrameFlag.ack, stream0);

/** @param settings pairs of identifier and value. */
export function settingsFrame(settings: readonly (readonly [number, number])[]): string {
  let payload = '';
  for (const [id, value] of settings) payload += uint32Text(id).slice(2) + uint32Text(value);
  return frameHeader(payload.length, FrameType.settings, 0, stream0) + payload;
}

/** Checks all values, then takes them over in order; unknown ones are ignored (6.5.2). */
export function readSettings(
  buf: Uint8Array,
  start: number,
  end: number,
  into: PeerSettings,
  fromServer: boolean,
): Violation | undefined {
  if ((end - start) % settingBytes !== 0) return violations.frameSize;
  for (let at = start; at < end; at += settingBytes) {
    const id = ((buf[at] as number) << 8) | (buf[at + 1] as number);
    const value = readUint32(buf, at + 2);
    switch (id) {
      case SettingId.enablePush:
        if (value > 1 || (fromServer && value === 1)) return violations.settingsValue;
        break;
      case SettingId.maxConcurrentStreams:
        into.maxConcurrentStreams = value;
        break;
      case SettingId.initialWindowSize:
        if (value > maxWindow) return violations.settingsWindow;
        into.initialWindowSize = value;
        break;
      case SettingId.maxFrameSize:
        if (value < 16_384 || value > 0xff_ffff) return violations.settingsValue;
        into.maxFrameSize = value;
        break;
      case SettingId.enableConnectProtocol:
        // Once offered it must stay (RFC 8441 3).
        if (value > 1 || (value === 0 && into.enableConnectProtocol)) return violations.settingsValue;
        into.enableConnectProtocol = value === 1;
        break;
      default:
    }
  }
  return undefined;
}
