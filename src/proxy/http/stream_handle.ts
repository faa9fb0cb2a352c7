/**
 * Node's stream handles (the C++ object under a net.Socket or TLSSocket), for reading and writing without the JavaScript
 * streams between: 4 of 26 microseconds of a proxied request. The handles are not documented, so everything about them is
 * in this file and SocketIo works without them: `rawHandle` answers undefined when anything is not as expected. The
 * socket object stays in charge of connecting, end, errors and close.
 */
import type { Socket } from 'node:net';

/** Request object of one write. Free again at once when the write was finished in the call. */
export interface WriteRequest {
  handle: StreamHandle;
  async: boolean;
  bytes: number;
  /** Kept until the write is done. */
  buffer: Buffer | readonly Buffer[] | undefined;
  io: WriteOwner | undefined;
  oncomplete: (this: WriteRequest, status: number) => void;
}

/** Hears of writes that were not finished in the call. */
export interface WriteOwner {
  onWritten(bytes: number, status: number): void;
}

export interface StreamHandle {
  reading: boolean;
  onread: (this: StreamHandle, data: ArrayBuffer | undefined) => unknown;
  readStart(): number;
  readStop(): number;
  /** Reads go into this memory from now on, in place of a new buffer each. */
  useUserBuffer?(buffer: Buffer): void;
  writeLatin1String(request: WriteRequest, text: string): number;
  writeBuffer(request: WriteRequest, data: Buffer): number;
  writev(request: WriteRequest, chunks: readonly Buffer[], allBuffers: true): number;
}

interface StreamWrapBinding {
  readonly WriteWrap: new () => WriteRequest;
  readonly streamBaseState: Int32Array;
  readonly kReadBytesOrError: number;
  readonly kLastWriteWasAsync: number;
}

function isBinding(value: unknown): value is StreamWrapBinding {
  if (typeof value !== 'object' || value === null) return false;
  const binding = value as Partial<StreamWrapBinding>;
  return (
    typeof binding.WriteWrap === 'function' &&
    binding.streamBaseState instanceof Int32Array &&
    typeof binding.kReadBytesOrError === 'number' &&
    typeof binding.kLastWriteWasAsync === 'number'
  );
}

function loadBinding(): StreamWrapBinding | undefined {
  try {
    const { binding } = process as unknown as { binding?: (name: string) => unknown };
    const value = binding?.call(process, 'stream_wrap');
    return isBinding(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

const binding = loadBinding();
const state = binding?.streamBaseState ?? new Int32Array(8);
const readBytes = binding?.kReadBytesOrError ?? 0;
const lastWriteAsync = binding?.kLastWriteWasAsync ?? 0;

/** The handle of a connected socket; undefined when it cannot be used directly. */
export function rawHandle(socket: Socket): StreamHandle | undefined {
  if (binding === undefined) return undefined;
  const { _handle: handle } = socket as unknown as { _handle?: Partial<StreamHandle> | null };
  if (
    handle === undefined ||
    handle === null ||
    socket.connecting ||
    typeof handle.onread !== 'function' ||
    typeof handle.readStart !== 'function' ||
    typeof handle.readStop !== 'function' ||
    typeof handle.writeLatin1String !== 'function' ||
    typeof handle.writeBuffer !== 'function' ||
    typeof handle.writev !== 'function'
  )
    return undefined;
  return handle as StreamHandle;
}

function onWriteComplete(this: WriteRequest, status: number): void {
  const { io, bytes } = this;
  this.io = undefined;
  this.buffer = undefined;
  io?.onWritten(bytes, status);
}

/** Only after `rawHandle` gave a handle. */
export function newWriteRequest(handle: StreamHandle): WriteRequest {
  const request = new (binding as StreamWrapBinding).WriteWrap();
  request.handle = handle;
  request.async = false;
  request.bytes = 0;
  request.buffer = undefined;
  request.io = undefined;
  request.oncomplete = onWriteComplete;
  return request;
}

/** Whether the write just made goes on after its call. */
export function lastWriteWasAsync(): boolean {
  return state[lastWriteAsync] !== 0;
}

/**
 * Reads into one buffer that the caller owns; ends and errors still go the socket's way. `onBytes` hears how many bytes lie
 * at its start and may give another buffer for what comes next. A TLS handle may call again after `readStop`, so a buffer
 * that is still needed must be replaced at once. False, and nothing changed, when the handle cannot do it.
 */
export function takeReadsInto(
  handle: StreamHandle,
  buffer: Buffer,
  onBytes: (bytes: number) => Buffer | undefined,
): boolean {
  if (typeof handle.useUserBuffer !== 'function') return false;
  const original = handle.onread;
  handle.useUserBuffer(buffer);
  handle.onread = function onRead(data) {
    const bytes = state[readBytes] as number;
    if (bytes > 0) return onBytes(bytes);
    original.call(handle, data);
    return undefined;
  };
  return true;
}
