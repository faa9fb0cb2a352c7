/**
 * Images of the workloads, packed from what this machine has, without a container engine: bookinfo and the programs of
 * `pod/` on Node, Debian's nginx under the name that the sample asks for, Prometheus. One archive as `docker save` writes it.
 */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { arch, tmpdir } from 'node:os';
import { dirname, join } from 'node:path';

const root = join(import.meta.dirname, '..', '..');

/** Image of the programs in `pod/`. */
export const toolsImage = 'docker.io/trysail/e2e-tools:1';
/** Image of Prometheus. */
export const prometheusImage = 'docker.io/trysail/e2e-prometheus:1';

interface Image {
  readonly reference: string;
  /** Names of layers. */
  readonly layers: readonly string[];
  readonly entrypoint: readonly string[];
  readonly env?: readonly string[];
}

function bookinfo(service: string, version = 'v1'): Image {
  return {
    reference: `docker.io/trysail/bookinfo-${service}:${version}`,
    layers: ['node', 'bookinfo'],
    entrypoint: ['/usr/local/bin/node', `/samples/bookinfo/${service}.ts`],
    env: [`SERVICE_VERSION=${version}`],
  };
}

const images: readonly Image[] = [
  ...['details', 'ratings', 'productpage'].map((service) => bookinfo(service)),
  ...['v1', 'v2', 'v3'].map((version) => bookinfo('reviews', version)),
  { reference: toolsImage, layers: ['node', 'bookinfo', 'tools'], entrypoint: ['/usr/local/bin/node'] },
  {
    reference: 'docker.io/library/nginx:1.14.2',
    layers: ['nginx'],
    entrypoint: ['/usr/sbin/nginx', '-c', '/etc/nginx/nginx.conf'],
  },
  { reference: prometheusImage, layers: ['prometheus'], entrypoint: ['/usr/bin/prometheus'] },
];

/** A program of this machine; undefined when it is not installed. */
export function program(name: string): string | undefined {
  for (const folder of [...(process.env['PATH'] ?? '').split(':'), '/usr/sbin', '/usr/bin']) {
    if (folder !== '' && existsSync(join(folder, name))) return join(folder, name);
  }
  return undefined;
}

/** Copies a program and the libraries it is linked with, to the same paths. */
function copyProgram(path: string, target: string, directory: string): void {
  const put = (from: string, to: string): void => {
    const file = join(directory, to);
    mkdirSync(dirname(file), { recursive: true });
    cpSync(realpathSync(from), file);
    chmodSync(file, 0o755);
  };
  put(path, target);
  const linked = execFileSync('ldd', [path], { encoding: 'utf8' });
  for (const [, library] of linked.matchAll(/(\/\S+) \(0x/g)) put(library!, library!);
}

const nginxConf = `daemon off;
user root;
worker_processes 1;
pid /tmp/nginx.pid;
error_log /dev/stderr;
events { worker_connections 512; }
http {
  access_log /dev/stdout;
  server {
    listen 80;
    location / { default_type text/html; return 200 "<h1>Welcome to nginx!</h1>\\n"; }
  }
}
`;

function writeAccounts(directory: string): void {
  mkdirSync(join(directory, 'etc'), { recursive: true });
  mkdirSync(join(directory, 'tmp'), { recursive: true });
  chmodSync(join(directory, 'tmp'), 0o1777);
  writeFileSync(join(directory, 'etc/passwd'), 'root:x:0:0:root:/:/\nnobody:x:65534:65534::/:/\n');
  writeFileSync(join(directory, 'etc/group'), 'root:x:0:\nnogroup:x:65534:\n');
  writeFileSync(join(directory, 'etc/nsswitch.conf'), 'hosts: files dns\n');
}

/** What fills the folder of each layer; false when the machine lacks the program. */
const layers: Readonly<Record<string, (directory: string) => boolean>> = {
  node(directory) {
    writeAccounts(directory);
    copyProgram(process.execPath, '/usr/local/bin/node', directory);
    writeFileSync(join(directory, 'package.json'), '{"type":"module"}\n');
    return true;
  },
  // At the paths of the repository, so that their imports hold.
  bookinfo(directory) {
    cpSync(join(root, 'samples/bookinfo'), join(directory, 'samples/bookinfo'), { recursive: true });
    return true;
  },
  tools(directory) {
    cpSync(join(import.meta.dirname, 'pod'), join(directory, 'test/e2e/pod'), { recursive: true });
    symlinkSync('test/e2e/pod', join(directory, 'pod'));
    return true;
  },
  nginx(directory) {
    const path = program('nginx');
    if (path === undefined) return false;
    writeAccounts(directory);
    copyProgram(path, '/usr/sbin/nginx', directory);
    for (const folder of ['etc/nginx', 'var/log/nginx', 'var/lib/nginx'])
      mkdirSync(join(directory, folder), { recursive: true });
    writeFileSync(join(directory, 'etc/nginx/nginx.conf'), nginxConf);
    return true;
  },
  prometheus(directory) {
    const path = program('prometheus');
    if (path === undefined) return false;
    writeAccounts(directory);
    copyProgram(path, '/usr/bin/prometheus', directory);
    return true;
  },
};

function tar(directory: string, file: string): void {
  execFileSync('tar', [
    '--owner=0',
    '--group=0',
    '--numeric-owner',
    '--format=ustar',
    '-cf',
    file,
    '-C',
    directory,
    '.',
  ]);
}

/** Writes all images into one archive; gives the names of those that this machine could pack. */
export function packImages(file: string): string[] {
  const work = mkdtempSync(join(tmpdir(), 'trysail-e2e-images-'));
  try {
    const archive = join(work, 'archive');
    mkdirSync(archive);
    const digests = new Map<string, string>();
    for (const [name, fill] of Object.entries(layers)) {
      const directory = join(work, name);
      mkdirSync(directory);
      if (!fill(directory)) continue;
      const layer = join(archive, `${name}.tar`);
      tar(directory, layer);
      const [digest] = execFileSync('sha256sum', [layer], { encoding: 'utf8' }).split(' ');
      digests.set(name, digest!);
    }
    const packed = images.filter((image) => image.layers.every((layer) => digests.has(layer)));
    const manifest = packed.map(({ reference, layers: names, entrypoint, env = [] }) => {
      const config = JSON.stringify({
        architecture: arch() === 'arm64' ? 'arm64' : 'amd64',
        os: 'linux',
        config: {
          Entrypoint: entrypoint,
          Env: ['PATH=/usr/local/bin:/usr/sbin:/usr/bin', ...env],
          WorkingDir: '/',
        },
        rootfs: { type: 'layers', diff_ids: names.map((name) => `sha256:${digests.get(name)}`) },
      });
      const id = `${createHash('sha256').update(config).digest('hex')}.json`;
      writeFileSync(join(archive, id), config);
      return { Config: id, RepoTags: [reference], Layers: names.map((name) => `${name}.tar`) };
    });
    writeFileSync(join(archive, 'manifest.json'), JSON.stringify(manifest));
    mkdirSync(dirname(file), { recursive: true });
    execFileSync('tar', ['-cf', file, '-C', archive, '.']);
    return packed.map(({ reference }) => reference);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}
