/**
 * Collects protocol descriptors: from Go modules, whose `.pb.go` files each hold their raw FileDescriptorProto as string
 * constant (read as text, nothing is compiled), from the hand-written files in `proto/`, and the well-known types of
 * the protobuf runtime.
 */
import { execFileSync } from 'node:child_process';
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fromBinary } from '@bufbuild/protobuf';
import {
  type FileDescriptorProto,
  FileDescriptorProtoSchema,
  FileDescriptorSetSchema,
  file_google_protobuf_any,
  file_google_protobuf_duration,
  file_google_protobuf_empty,
  file_google_protobuf_field_mask,
  file_google_protobuf_struct,
  file_google_protobuf_timestamp,
  file_google_protobuf_wrappers,
} from '@bufbuild/protobuf/wkt';

/** The modules whose versions we choose. */
const pinned = ['github.com/envoyproxy/go-control-plane/envoy@v1.40.0', 'istio.io/api@v1.31.1'];

/** Modules which the first pinned one imports; their versions come from its go.mod. */
const imported = [
  'github.com/cncf/xds/go',
  'google.golang.org/genproto/googleapis/rpc',
  'google.golang.org/genproto/googleapis/api',
  'go.opentelemetry.io/proto/otlp',
];

function download(module: string): string {
  const out = execFileSync('go', ['mod', 'download', '-json', module], { encoding: 'utf8' });
  return (JSON.parse(out) as { Dir: string }).Dir;
}

/** The module's folder and all folders it needs, as `go mod download` unpacked them. */
function moduleFolders(): string[] {
  const folders = pinned.map(download);
  const requirements = readFileSync(join(folders[0] ?? '', 'go.mod'), 'utf8');
  for (const module of imported) {
    const version = requirements
      .split('\n')
      .map((line) => line.trim().split(/\s+/))
      .find(([name]) => name === module)?.[1];
    if (version === undefined) throw new Error(`${module}: no version in the go.mod of ${pinned[0]}`);
    folders.push(download(`${module}@${version}`));
  }
  return folders;
}

const simpleEscapes: Record<string, number> = {
  a: 7,
  b: 8,
  f: 12,
  n: 10,
  r: 13,
  t: 9,
  v: 11,
  '\\': 92,
  '"': 34,
  "'": 39,
};

/** Bytes of an interpreted Go string literal, without its quotes (Go specification, "String literals"). */
function goStringBytes(literal: string): Buffer {
  const parts: Buffer[] = [];
  for (const [token] of literal.matchAll(
    /[^\\]+|\\x[0-9a-fA-F]{2}|\\u[0-9a-fA-F]{4}|\\U[0-9a-fA-F]{8}|\\[0-7]{3}|\\./gs,
  )) {
    if (!token.startsWith('\\')) parts.push(Buffer.from(token));
    else if (token[1] === 'x') parts.push(Buffer.of(Number.parseInt(token.slice(2), 16)));
    else if (token[1] === 'u' || token[1] === 'U')
      parts.push(Buffer.from(String.fromCodePoint(Number.parseInt(token.slice(2), 16))));
    else if (/^\\[0-7]/.test(token)) parts.push(Buffer.of(Number.parseInt(token.slice(1), 8)));
    else {
      const byte = simpleEscapes[token[1] ?? ''];
      if (byte === undefined) throw new Error(`unknown escape ${token}`);
      parts.push(Buffer.of(byte));
    }
  }
  return Buffer.concat(parts);
}

/** The descriptor in the text of a `.pb.go` file (a string constant, or a byte list as older generators wrote). */
function rawDescriptor(goSource: string): Buffer | undefined {
  const strings = /^const file_\w+_rawDesc = ""((?: \+\n\t"(?:[^"\\]|\\.)*")+)/m.exec(goSource)?.[1];
  if (strings !== undefined) {
    const literals = strings.matchAll(/"((?:[^"\\]|\\.)*)"/g);
    return Buffer.concat([...literals].map(([, literal = '']) => goStringBytes(literal)));
  }
  const bytes = /^var file_\w+_rawDesc = \[\]byte\{([^}]*)\}/m.exec(goSource)?.[1];
  if (bytes === undefined) return undefined;
  return Buffer.from(
    bytes
      .split(',')
      .map((byte) => byte.trim())
      .filter((byte) => byte !== '')
      .map(Number),
  );
}

/** Istio's files have paths without their owner's name (`type/v1beta1/...`); ours stand below `istio/`. */
function ownPath(file: FileDescriptorProto, istioPaths: ReadonlySet<string>): void {
  const rename = (path: string): string => (istioPaths.has(path) ? `istio/${path}` : path);
  file.name = rename(file.name);
  file.dependency = file.dependency.map(rename);
}

/** Every known file by its path. */
export function collectDescriptors(protoFolder: string, buf: string): Map<string, FileDescriptorProto> {
  const files: FileDescriptorProto[] = [];
  for (const folder of moduleFolders()) {
    for (const path of globSync('**/*.pb.go', { cwd: folder }).sort()) {
      const raw = rawDescriptor(readFileSync(join(folder, path), 'utf8'));
      if (raw !== undefined) files.push(fromBinary(FileDescriptorProtoSchema, raw));
    }
  }
  const istioPaths = new Set(
    files.filter((file) => file.package.startsWith('istio.')).map((file) => file.name),
  );
  for (const file of files) ownPath(file, istioPaths);
  const image = execFileSync(buf, ['build', protoFolder, '--as-file-descriptor-set', '-o', '-#format=binpb']);
  files.push(...fromBinary(FileDescriptorSetSchema, image).file);
  for (const wellKnown of [
    file_google_protobuf_any,
    file_google_protobuf_duration,
    file_google_protobuf_empty,
    file_google_protobuf_field_mask,
    file_google_protobuf_struct,
    file_google_protobuf_timestamp,
    file_google_protobuf_wrappers,
  ]) {
    files.push(wellKnown.proto);
  }
  return new Map(files.map((file) => [file.name, file]));
}
