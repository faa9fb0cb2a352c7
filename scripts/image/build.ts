/**
 * `npm run image`: one image with Node, the bundle and iptables: proxy, init container and control plane. Built without a
 * container engine; needs Debian's package tools and GNU tar.
 *
 *   node scripts/image/build.ts [--out dist/image.tar] [--reference docker.io/trysail/proxyv2:VERSION]
 *                               [--rootfs DIR]   writes the files of the image into DIR in place of an image (deploy/Dockerfile)
 */
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { arch, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { imageEntrypoint, imageHome, writeBundle } from './bundle.ts';
import { type UnpackedPackage, unpackPackages } from './debian_packages.ts';
import { writeImage } from './oci_image.ts';

const root = join(import.meta.dirname, '..', '..');
const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string };
const { values: flags } = parseArgs({
  options: {
    out: { type: 'string', default: join(root, 'dist', 'image.tar') },
    rootfs: { type: 'string' },
    reference: { type: 'string', default: `docker.io/trysail/proxyv2:${version}` },
  },
});

/** The user of the sidecar (features.md 1.15). */
const proxyId = 1337;

const env = [
  'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
  'HOME=/tmp',
  'MALLOC_ARENA_MAX=1',
];

function pack(layers: readonly string[], found: readonly UnpackedPackage[]): void {
  const image = writeImage(
    {
      reference: flags.reference,
      architecture: arch() === 'arm64' ? 'arm64' : 'amd64',
      layers,
      entrypoint: imageEntrypoint,
      user: `${proxyId}:${proxyId}`,
      env,
      workingDirectory: '/',
      labels: {
        'org.opencontainers.image.title': 'trysail',
        'org.opencontainers.image.version': version,
        'org.opencontainers.image.licenses': 'Apache-2.0',
        'trysail.debian-packages': found.map(({ name, version: at }) => `${name}=${at}`).join(' '),
        'trysail.node': process.version,
      },
    },
    flags.out,
  );
  const mib = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(1)} MiB`;
  console.log(`${flags.out}: ${flags.reference}`);
  console.log(`  ${image.digest}`);
  console.log(
    `  ${mib(image.compressedBytes)} packed; layers ${image.layerBytes.map(mib).join(' and ')} unpacked`,
  );
}

const work = mkdtempSync(join(tmpdir(), 'trysail-rootfs-'));
try {
  const system = join(work, 'system');
  const program = join(work, 'program');
  mkdirSync(system);
  const found = unpackPackages(system);
  mkdirSync(join(system, 'usr/local/bin'), { recursive: true });
  cpSync(process.execPath, join(system, 'usr/local/bin/node'));
  mkdirSync(join(system, 'tmp'), { recursive: true, mode: 0o1777 });
  writeFileSync(
    join(system, 'etc/passwd'),
    `root:x:0:0:root:/root:/sbin/nologin\nnobody:x:65534:65534:nobody:/nonexistent:/sbin/nologin\n` +
      `istio-proxy:x:${proxyId}:${proxyId}:istio-proxy:/var/lib/istio:/sbin/nologin\n`,
  );
  writeFileSync(join(system, 'etc/group'), `root:x:0:\nnogroup:x:65534:\nistio-proxy:x:${proxyId}:\n`);
  writeFileSync(join(system, 'etc/nsswitch.conf'), 'hosts: files dns\n');

  const target = join(program, imageHome);
  mkdirSync(target, { recursive: true });
  await writeBundle(target);
  mkdirSync(join(program, 'usr/local/bin'), { recursive: true });
  for (const name of ['trysail', 'pilot-agent', 'pilot-discovery'])
    symlinkSync(`../lib/trysail/bin/${name}`, join(program, 'usr/local/bin', name));

  if (flags.rootfs === undefined) pack([system, program], found);
  else
    for (const layer of [system, program])
      cpSync(layer, flags.rootfs, { recursive: true, verbatimSymlinks: true });
} finally {
  rmSync(work, { recursive: true, force: true });
}
