/** A collector of spans and log records: Zipkin's JSON, OTLP over HTTP and over gRPC, read without generated types. */
import { once } from 'node:events';
import { type Server, createServer } from 'node:http';
import {
  type Http2Server,
  type Http2Session,
  type ServerHttp2Stream,
  createServer as createHttp2Server,
} from 'node:http2';
import type { AddressInfo } from 'node:net';
import { BinaryReader, WireType } from '@bufbuild/protobuf/wire';

/** Fields of a message by number, in order of arrival. Values of length-delimited fields are bytes. */
export type Fields = ReadonlyMap<number, readonly (Buffer | bigint | number)[]>;

export function readFields(bytes: Uint8Array): Fields {
  const fields = new Map<number, (Buffer | bigint | number)[]>();
  const reader = new BinaryReader(bytes);
  while (reader.pos < reader.len) {
    const [field, type] = reader.tag();
    const value =
      type === WireType.LengthDelimited
        ? Buffer.from(reader.bytes())
        : type === WireType.Bit64
          ? BigInt(reader.fixed64())
          : type === WireType.Bit32
            ? reader.fixed32()
            : Number(reader.uint64());
    fields.set(field, [...(fields.get(field) ?? []), value]);
  }
  return fields;
}

export function bytesOf(fields: Fields, field: number): Buffer {
  return (fields.get(field)?.[0] as Buffer | undefined) ?? Buffer.alloc(0);
}

export function textOf(fields: Fields, field: number): string {
  return bytesOf(fields, field).toString('utf8');
}

/** Messages of a repeated field. */
export function messagesOf(fields: Fields, field: number): Fields[] {
  return (fields.get(field) ?? []).map((bytes) => readFields(bytes as Buffer));
}

/** `KeyValue` list with string values. */
export function attributesOf(fields: Fields, field: number): Record<string, string> {
  return Object.fromEntries(
    messagesOf(fields, field).map((pair) => [textOf(pair, 1), textOf(readFields(bytesOf(pair, 2)), 1)]),
  );
}

/** One request that came. */
export interface Export {
  readonly path: string;
  readonly headers: Readonly<Record<string, unknown>>;
  readonly body: Buffer;
}

/** What of an OTLP export is compared: resource, then spans or records. */
export interface OtlpExport {
  readonly resource: Record<string, string>;
  readonly items: Fields[];
}

/** First resource and scope of an `Export{Trace,Logs}ServiceRequest`. */
export function readOtlp(body: Buffer): OtlpExport {
  const [group] = messagesOf(readFields(body), 1);
  if (group === undefined) return { resource: {}, items: [] };
  const [resource] = messagesOf(group, 1);
  return {
    resource: resource === undefined ? {} : attributesOf(resource, 1),
    items: messagesOf(group, 2).flatMap((scope) => messagesOf(scope, 2)),
  };
}

export class Collector {
  readonly exports: Export[] = [];
  readonly #http: Server;
  readonly #grpc: Http2Server;
  readonly #sessions = new Set<Http2Session>();

  private constructor() {
    this.#http = createServer((request, response) => {
      const chunks: Buffer[] = [];
      request.on('data', (chunk: Buffer) => void chunks.push(chunk));
      request.on('end', () => {
        const { url: path = '', headers } = request;
        this.exports.push({ path, headers, body: Buffer.concat(chunks) });
        response.statusCode = path.startsWith('/api/v2') ? 202 : 200;
        response.end();
      });
    });
    this.#grpc = createHttp2Server();
    this.#grpc.on('session', (session) => void this.#sessions.add(session));
    this.#grpc.on('stream', (stream: ServerHttp2Stream, headers) => {
      let waiting = Buffer.alloc(0);
      stream.on('error', () => {});
      // A stream may stay open: each message counts when it is there.
      stream.on('data', (chunk: Buffer) => {
        waiting = Buffer.concat([waiting, chunk]);
        while (waiting.length >= 5 && waiting.length >= 5 + waiting.readUInt32BE(1)) {
          const end = 5 + waiting.readUInt32BE(1);
          this.exports.push({ path: String(headers[':path']), headers, body: waiting.subarray(5, end) });
          waiting = waiting.subarray(end);
        }
      });
      stream.on('end', () => {
        // The proxy was killed with its stream open.
        if (stream.destroyed) return;
        stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true });
        stream.on('wantTrailers', () => {
          if (!stream.destroyed) stream.sendTrailers({ 'grpc-status': '0' });
        });
        stream.end(Buffer.alloc(5));
      });
    });
  }

  static async start(): Promise<Collector> {
    const collector = new Collector();
    for (const server of [collector.#http, collector.#grpc]) {
      server.listen(0, '127.0.0.1');
      await once(server, 'listening');
    }
    return collector;
  }

  get httpPort(): number {
    return (this.#http.address() as AddressInfo).port;
  }

  get grpcPort(): number {
    return (this.#grpc.address() as AddressInfo).port;
  }

  /** Waits (10 s) for so many exports since the last call, and takes them. */
  async take(count: number): Promise<Export[]> {
    for (let i = 0; this.exports.length < count; i++) {
      if (i === 500) throw new Error(`${this.exports.length} exports, ${count} expected`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    return this.exports.splice(0);
  }

  stop(): void {
    this.#http.closeAllConnections();
    this.#http.close();
    for (const session of this.#sessions) session.destroy();
    this.#grpc.close();
  }
}
