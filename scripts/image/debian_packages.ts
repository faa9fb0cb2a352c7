/** The system part of the image: files of Debian packages, taken with apt and unpacked without being installed. */
import { spawnSync } from 'node:child_process';
import {
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Package: why the image has it. */
export const packages: Readonly<Record<string, string>> = {
  'base-files': 'the directories of the file system',
  netbase: '/etc/protocols and /etc/services, by which iptables knows names',
  'ca-certificates': 'roots for public addresses',
  libc6: 'Node, iptables, ip',
  'libstdc++6': 'Node',
  'libgcc-s1': 'Node',
  libatomic1: 'Node',
  iptables: 'capture of packets',
  libxtables12: 'iptables',
  libip4tc2: 'iptables-legacy',
  libip6tc2: 'iptables-legacy',
  libmnl0: 'iptables-nft, ip',
  libnftnl11: 'iptables-nft',
  'libnetfilter-conntrack3': 'iptables',
  libnfnetlink0: 'iptables',
  iproute2: 'policy routes of TPROXY',
  libbpf0: 'ip',
  libbpf1: 'ip',
  libcap2: 'ip',
  libelf1: 'ip',
  zlib1g: 'ip',
};

/** Not needed in an image: documentation, translations, character sets, programs beside those above. */
const leftOut = [
  'usr/share/doc',
  'usr/share/man',
  'usr/share/locale',
  'usr/share/lintian',
  'usr/share/bug',
  'usr/share/base-files',
  'usr/share/common-licenses/GFDL-1.2',
  'usr/share/common-licenses/GFDL-1.3',
  'usr/lib/x86_64-linux-gnu/gconv',
  'usr/lib/aarch64-linux-gnu/gconv',
  'usr/lib/tc',
  'usr/include',
  'etc/update-motd.d',
];

/** Programs of iproute2 and libc6 that nothing calls. */
const keptPrograms = /^(ip|ip6?tables.*|xtables.*)$/;

export interface UnpackedPackage {
  readonly name: string;
  readonly version: string;
}

function run(command: string, args: readonly string[], cwd: string): string {
  const { status, stdout, stderr, error } = spawnSync(command, args, {
    cwd,
    encoding: 'utf8',
    env: { ...process.env, LC_ALL: 'C', DEBIAN_FRONTEND: 'noninteractive' },
  });
  if (error !== undefined) throw new Error(`${command} cannot be run: ${error.message}`);
  if (status !== 0) throw new Error(`${command} ${args.join(' ')}: ${stderr.trim()}`);
  return stdout;
}

/** Unpacks the packages into `rootfs`; gives what was taken. @throws Error on a machine without Debian's package tools. */
export function unpackPackages(rootfs: string): UnpackedPackage[] {
  const directory = mkdtempSync(join(tmpdir(), 'trysail-image-'));
  try {
    // A library has another name from one release to the next: take those there are.
    const known = Object.keys(packages).filter(
      (name) => spawnSync('apt-cache', ['show', name], { stdio: 'ignore' }).status === 0,
    );
    if (!known.includes('libc6')) throw new Error('no package lists: run apt-get update first');
    run('apt-get', ['download', '-qq', '-o', 'APT::Sandbox::User=root', ...known], directory);
    const found: UnpackedPackage[] = [];
    for (const file of readdirSync(directory).sort()) {
      const path = join(directory, file);
      const [name = '', version = ''] = run('dpkg-deb', ['-f', path, 'Package', 'Version'], directory)
        .trim()
        .split('\n')
        .map((line) => line.slice(line.indexOf(':') + 2));
      run('dpkg-deb', ['-x', path, rootfs], directory);
      found.push({ name, version });
    }
    trim(rootfs);
    setUp(rootfs);
    return found;
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

/** What installing would do: iptables is the nft variant under the plain names, and the roots are one file. */
function setUp(rootfs: string): void {
  const sbin = join(rootfs, 'usr/sbin');
  for (const family of ['iptables', 'ip6tables'])
    for (const suffix of ['', '-save', '-restore'])
      if (!existsSync(join(sbin, `${family}${suffix}`)))
        symlinkSync(`${family}-nft${suffix}`, join(sbin, `${family}${suffix}`));
  const roots = join(rootfs, 'usr/share/ca-certificates/mozilla');
  const bundle = readdirSync(roots)
    .sort()
    .map((file) => readFileSync(join(roots, file), 'utf8'));
  mkdirSync(join(rootfs, 'etc/ssl/certs'), { recursive: true });
  writeFileSync(join(rootfs, 'etc/ssl/certs/ca-certificates.crt'), bundle.join(''));
}

function trim(rootfs: string): void {
  for (const path of leftOut) rmSync(join(rootfs, path), { recursive: true, force: true });
  for (const folder of ['bin', 'sbin', 'usr/bin', 'usr/sbin']) {
    const path = join(rootfs, folder);
    if (!existsSync(path) || lstatSync(path).isSymbolicLink()) continue;
    for (const name of readdirSync(path))
      if (!keptPrograms.test(name)) rmSync(join(path, name), { recursive: true, force: true });
  }
}
