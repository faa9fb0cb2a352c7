/**
 * An image as one tar: OCI layout (image-spec v1.1: oci-layout, index.json, blobs/), and the manifest.json by which Docker and
 * containerd load archives. The same files give the same bytes: names sorted, owner 0, time 0.
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { gzipSync } from 'node:zlib';

export interface ImageSpec {
  /** Name with tag, such as `docker.io/istio/proxyv2:1.0`. */
  readonly reference: string;
  readonly architecture: 'amd64' | 'arm64';
  /** Folders, each a layer, lowest first. */
  readonly layers: readonly string[];
  readonly entrypoint: readonly string[];
  /** `uid:gid`. */
  readonly user: string;
  readonly env: readonly string[];
  readonly workingDirectory: string;
  readonly labels: Readonly<Record<string, string>>;
}

export interface WrittenImage {
  /** Digest of the manifest: the same for the same content. */
  readonly digest: string;
  readonly compressedBytes: number;
  readonly layerBytes: readonly number[];
}

function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

/** A tar of a folder, the same for the same content. GNU tar. */
function tarOf(directory: string): Buffer {
  const { status, stdout, stderr, error } = spawnSync(
    'tar',
    [
      '--sort=name',
      '--mtime=@0',
      '--owner=0',
      '--group=0',
      '--numeric-owner',
      '--format=ustar',
      '-cf',
      '-',
      '-C',
      directory,
      '.',
    ],
    { maxBuffer: 2 ** 31 - 1 },
  );
  if (error !== undefined) throw error;
  if (status !== 0) throw new Error(`tar: ${stderr.toString()}`);
  return stdout;
}

/** Writes the image to `file`. */
export function writeImage(spec: ImageSpec, file: string): WrittenImage {
  const directory = mkdtempSync(join(tmpdir(), 'trysail-oci-'));
  try {
    const blobs = join(directory, 'blobs', 'sha256');
    mkdirSync(blobs, { recursive: true });
    const put = (bytes: Uint8Array): { digest: string; size: number } => {
      const digest = sha256(bytes);
      writeFileSync(join(blobs, digest), bytes);
      return { digest: `sha256:${digest}`, size: bytes.length };
    };
    const putJson = (value: unknown): { digest: string; size: number } =>
      put(Buffer.from(JSON.stringify(value)));

    const layers = spec.layers.map((path) => {
      const tar = tarOf(path);
      const blob = put(gzipSync(tar, { level: 9 }));
      return { diffId: `sha256:${sha256(tar)}`, bytes: tar.length, ...blob };
    });
    const config = putJson({
      architecture: spec.architecture,
      os: 'linux',
      created: '1970-01-01T00:00:00Z',
      config: {
        Entrypoint: spec.entrypoint,
        User: spec.user,
        Env: spec.env,
        WorkingDir: spec.workingDirectory,
        Labels: spec.labels,
      },
      rootfs: { type: 'layers', diff_ids: layers.map(({ diffId }) => diffId) },
      history: layers.map(() => ({ created: '1970-01-01T00:00:00Z', created_by: 'trysail image' })),
    });
    const manifest = putJson({
      schemaVersion: 2,
      mediaType: 'application/vnd.oci.image.manifest.v1+json',
      config: { mediaType: 'application/vnd.oci.image.config.v1+json', ...config },
      layers: layers.map(({ digest, size }) => ({
        mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip',
        digest,
        size,
      })),
    });
    const write = (name: string, value: unknown): void =>
      writeFileSync(join(directory, name), JSON.stringify(value));
    write('oci-layout', { imageLayoutVersion: '1.0.0' });
    write('index.json', {
      schemaVersion: 2,
      mediaType: 'application/vnd.oci.image.index.v1+json',
      manifests: [
        {
          mediaType: 'application/vnd.oci.image.manifest.v1+json',
          ...manifest,
          platform: { architecture: spec.architecture, os: 'linux' },
          annotations: {
            'io.containerd.image.name': spec.reference,
            'org.opencontainers.image.ref.name': spec.reference.slice(spec.reference.lastIndexOf(':') + 1),
          },
        },
      ],
    });
    const blobPath = (digest: string): string => `blobs/sha256/${digest.slice('sha256:'.length)}`;
    write('manifest.json', [
      {
        Config: blobPath(config.digest),
        RepoTags: [spec.reference],
        Layers: layers.map(({ digest }) => blobPath(digest)),
      },
    ]);
    mkdirSync(join(resolve(file), '..'), { recursive: true });
    writeFileSync(file, tarOf(directory));
    return {
      digest: manifest.digest,
      compressedBytes: readFileSync(file).length,
      layerBytes: layers.map(({ bytes }) => bytes),
    };
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}
