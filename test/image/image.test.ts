/** The image: its files, its programs in a root of their own, and that the same input gives the same bytes. */
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { lstatSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { imageEntrypoint } from '../../scripts/image/bundle.ts';
import { writeImage } from '../../scripts/image/oci_image.ts';
import { packageRoot } from '../harness/mesh_process.ts';
import { needs } from '../harness/optional_parts.ts';

const hasApt = spawnSync('apt-cache', ['show', 'libc6'], { stdio: 'ignore' }).status === 0;
const isRoot = process.getuid?.() === 0;

describe(
  'the image',
  { skip: needs("Debian's package lists (apt-get update) and root", hasApt && isRoot) },
  () => {
    const directory = mkdtempSync(join(tmpdir(), 'trysail-image-test-'));
    const rootfs = join(directory, 'rootfs');

    before(() => {
      mkdirSync(rootfs);
      execFileSync(process.execPath, [join(packageRoot, 'scripts/image/build.ts'), '--rootfs', rootfs], {
        stdio: ['ignore', 'ignore', 'inherit'],
        timeout: 240_000,
      });
    });
    after(() => rmSync(directory, { recursive: true, force: true }));

    const inside = (...command: string[]): { status: number | null; stdout: string; stderr: string } =>
      spawnSync('chroot', ['--userspec=1337:1337', rootfs, ...command], {
        encoding: 'utf8',
        env: { PATH: '/usr/local/bin:/usr/sbin:/usr/bin' },
        timeout: 60_000,
      });

    it('answers under each name', () => {
      for (const name of ['trysail', 'pilot-agent', 'pilot-discovery']) {
        const { status, stdout, stderr } = inside(`/usr/local/bin/${name}`, '--help');
        assert.equal(status, 0, stderr);
        assert.match(stdout, name === 'trysail' ? /Usage: trysail/ : new RegExp(`Usage: trysail ${name}`));
      }
      assert.equal(inside('/usr/local/bin/pilot-agent', 'version').stdout, '0.1.0\n');
      assert.equal(inside('/usr/local/bin/pilot-agent', 'no-such-command').status, 2);
    });

    it('starts a sidecar with its settings, without a second start', () => {
      const dockerfile = readFileSync(join(packageRoot, 'deploy/Dockerfile'), 'utf8');
      const entrypoint = JSON.parse(/^ENTRYPOINT (.*)$/m.exec(dockerfile)?.[1] ?? '[]') as string[];
      assert.deepEqual(entrypoint, imageEntrypoint);
      assert.match(dockerfile, /MALLOC_ARENA_MAX=1/);
      const { status, stdout, stderr } = inside(...entrypoint, 'version');
      assert.equal(status, 0, stderr);
      assert.equal(stdout, '0.1.0\n');
    });

    it('runs a bootstrap as the data plane', () => {
      writeFileSync(
        join(rootfs, 'tmp/bootstrap.yaml'),
        'static_resources: { listeners: [], clusters: [] }\n',
      );
      const { status, stderr } = inside(
        '/usr/local/bin/trysail',
        'proxy',
        '--mode',
        'validate',
        '-c',
        '/tmp/bootstrap.yaml',
      );
      assert.equal(status, 0, stderr);
    });

    it('has iptables of both kinds and nothing to work with for an intruder', () => {
      for (const program of ['iptables', 'iptables-restore', 'ip6tables-save', 'iptables-legacy'])
        assert.equal(inside(`/usr/sbin/${program}`, '--version').status, 0, program);
      for (const program of ['bin/sh', 'bin/bash', 'usr/bin/apt', 'usr/bin/perl', 'usr/local/bin/npm'])
        assert.throws(() => lstatSync(join(rootfs, program)), /ENOENT/, program);
      assert.match(
        readFileSync(join(rootfs, 'etc/ssl/certs/ca-certificates.crt'), 'utf8'),
        /BEGIN CERTIFICATE/,
      );
    });

    it('holds no file that everybody may write and no TypeScript', () => {
      const found = execFileSync('find', [
        rootfs,
        '(',
        '(',
        '-type',
        'f',
        '-perm',
        '/022',
        ')',
        '-o',
        '-name',
        '*.ts',
        '-o',
        '-perm',
        '/6000',
        ')',
        '-not',
        '-path',
        '*/tmp/*',
      ]);
      assert.equal(found.toString(), '');
    });
  },
);

it('the same files give the same image', () => {
  const directory = mkdtempSync(join(tmpdir(), 'trysail-image-test-'));
  try {
    const pack = (name: string): string => {
      const layer = join(directory, name);
      mkdirSync(layer);
      for (const file of name === 'one' ? ['a', 'b'] : ['b', 'a']) writeFileSync(join(layer, file), file);
      return writeImage(
        {
          reference: 'docker.io/test/test:1',
          architecture: 'amd64',
          layers: [layer],
          entrypoint: ['/a'],
          user: '1337:1337',
          env: [],
          workingDirectory: '/',
          labels: {},
        },
        join(directory, `${name}.tar`),
      ).digest;
    };
    assert.equal(pack('one'), pack('two'));
    const [one, two] = ['one', 'two'].map((name) => readFileSync(join(directory, `${name}.tar`)));
    assert.ok(one?.equals(two ?? Buffer.alloc(0)));
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
});
