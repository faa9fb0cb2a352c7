/** One bundle of all commands: JavaScript without types, entries that start threads and processes as files beside it. */
import { cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Plugin, build } from 'rolldown';

const root = join(import.meta.dirname, '..', '..');

/** Modules that are started by path (`new URL('./x.ts', import.meta.url)`), and the entry. Names must be unique. */
const entries: Readonly<Record<string, string>> = {
  trysail: 'bin/trysail.ts',
  worker_main: 'src/proxy/server/worker_main.ts',
  config_dump_thread: 'src/proxy/admin/config_dump_thread.ts',
  bootstrap_process: 'src/cli/bootstrap_process.ts',
};

/** All files lie in one folder: what starts a module by path finds it as `./name.js`, and package.json one level up. */
const paths: Plugin = {
  name: 'trysail-paths',
  transform(code, id) {
    if (!id.startsWith(join(root, 'src'))) return null;
    const changed = code
      .replaceAll(/new URL\('\.\/(\w+)\.ts', import\.meta\.url\)/g, (whole, name: string) => {
        if (!(name in entries)) throw new Error(`${id}: ${whole} is not in the list of entries`);
        return `new URL('./${name}.js', import.meta.url)`;
      })
      .replaceAll(
        `new URL('../../package.json', import.meta.url)`,
        `new URL('../package.json', import.meta.url)`,
      )
      .replaceAll(
        `new URL('../../deploy/helm/', import.meta.url)`,
        `new URL('../deploy/helm/', import.meta.url)`,
      );
    return changed === code ? null : { code: changed };
  },
};

const launcherText = readFileSync(join(root, 'bin/trysail'), 'utf8');

/** Flags of V8 that `bin/trysail` gives a sidecar. */
const sidecarFlags: readonly string[] = [
  ...(/const SIDECAR_FLAGS = \[([^\]]*)\]/.exec(launcherText)?.[1] ?? '').matchAll(/'([^']+)'/g),
].map(([, flag = '']) => flag);
if (sidecarFlags.length === 0) throw new Error('bin/trysail names no SIDECAR_FLAGS');

/** Where the program stands in an image. */
export const imageHome = '/usr/local/lib/trysail';

/** Entry point of an image: the settings that the launcher would start a sidecar over with. */
export const imageEntrypoint: readonly string[] = [
  '/usr/local/bin/node',
  ...sidecarFlags,
  `${imageHome}/bin/pilot-agent`,
];

/** Writes `js/*.js`, `bin/`, `package.json`, the charts and licences below `directory`. */
export async function writeBundle(directory: string): Promise<void> {
  await build({
    cwd: root,
    input: Object.fromEntries(Object.entries(entries).map(([name, path]) => [name, join(root, path)])),
    platform: 'node',
    plugins: [paths],
    output: {
      dir: join(directory, 'js'),
      format: 'esm',
      entryFileNames: '[name].js',
      chunkFileNames: '[name]-[hash].js',
      minify: { mangle: false, compress: true, codegen: { removeWhitespace: true } },
    },
    logLevel: 'warn',
  });
  const { name, version, license } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as Record<
    string,
    string
  >;
  writeFileSync(
    join(directory, 'package.json'),
    `${JSON.stringify({ name, version, license, type: 'module' })}\n`,
  );
  mkdirSync(join(directory, 'bin'));
  if (!launcherText.includes(`import('./trysail.ts')`))
    throw new Error('bin/trysail does not import ./trysail.ts');
  const inImage = launcherText
    .replace(/^#!.*/, '#!/usr/local/bin/node')
    .replace(`import('./trysail.ts')`, `import('../js/trysail.js')`);
  writeFileSync(join(directory, 'bin', 'trysail'), inImage, { mode: 0o755 });
  // Istio's names: the first argument is the command that the name stands for.
  for (const command of ['pilot-agent', 'pilot-discovery'])
    writeFileSync(
      join(directory, 'bin', command),
      `#!/usr/local/bin/node\nprocess.argv.splice(2, 0, '${command}');\nawait import('./trysail');\n`,
      { mode: 0o755 },
    );
  // Loaded by name when a pattern needs it (src/proxy/http/regex.ts).
  for (const file of ['package.json', 'build/index.cjs', 'LICENSE'])
    cpSync(join(root, 'node_modules/re2js', file), join(directory, 'node_modules/re2js', file));
  // What `trysail install` and `manifest generate` render.
  cpSync(join(root, 'deploy/helm'), join(directory, 'deploy/helm'), { recursive: true });
  for (const file of ['LICENSE', 'NOTICE']) cpSync(join(root, file), join(directory, file));
}
