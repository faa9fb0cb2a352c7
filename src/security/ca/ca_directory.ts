/**
 * The directory that keeps an authority across restarts, with the file names of Istio's `cacerts` secret:
 * ca-cert.pem, ca-key.pem (mode 0600 when we write it), root-cert.pem, cert-chain.pem.
 */
import { mkdir, open, readFile, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';

/** What the files hold, as PEM text. */
export interface CaFiles {
  readonly certificate: string;
  readonly privateKey: string;
  readonly root: string;
  /** Certificates between a leaf and the root, `certificate` first; the root may stand at the end. */
  readonly chain: string;
}

/** Where an authority is kept across restarts: a directory, a Secret of a cluster. */
export interface CaKeeper {
  /** What is kept; undefined when nothing is. @throws Error when it cannot be read, or parts are missing. */
  read(): Promise<CaFiles | undefined>;
  /** Keeps a first root. Of several that do so at one time one wins; resolves with the root of the winner. */
  create(files: CaFiles): Promise<CaFiles>;
  /** Replaces what was read last. False when that is not ours to do, or somebody else was faster. */
  replace(files: CaFiles): Promise<boolean>;
}

/** Names of the parts, in a directory and as keys of a Secret. */
export const caFileNames = {
  privateKey: 'ca-key.pem',
  root: 'root-cert.pem',
  chain: 'cert-chain.pem',
  certificate: 'ca-cert.pem',
} as const;

/** Order of writing: the certificate is renamed last, so a directory with it is complete. */
const writeOrder = ['privateKey', 'root', 'chain', 'certificate'] as const;

/** Most bytes of one file. */
const maxFileBytes = 1024 * 1024;

async function readOptional(path: string): Promise<string | undefined> {
  try {
    const { size } = await stat(path);
    if (size > maxFileBytes) throw new Error(`${path}: more than ${maxFileBytes} bytes`);
    return await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

function pendingPath(directory: string, part: keyof typeof caFileNames): string {
  return join(directory, `${caFileNames[part]}.new`);
}

/**
 * Reads the directory; undefined when it holds no authority yet, or one whose writing was cut off.
 * @throws Error when files of a plug-in authority are missing.
 */
export async function readCaDirectory(directory: string): Promise<CaFiles | undefined> {
  const read = (part: keyof typeof caFileNames) => readOptional(join(directory, caFileNames[part]));
  const [certificate, privateKey, root, chain] = await Promise.all([
    read('certificate'),
    read('privateKey'),
    read('root'),
    read('chain'),
  ]);
  if (certificate === undefined) {
    const unfinished = (await readOptional(pendingPath(directory, 'certificate'))) !== undefined;
    if (privateKey === undefined || unfinished) return undefined;
    throw new Error(`${directory}: ${caFileNames.privateKey} without ${caFileNames.certificate}`);
  }
  if (privateKey === undefined) throw new Error(`${directory}: ${caFileNames.privateKey} is missing`);
  if (root === undefined) throw new Error(`${directory}: ${caFileNames.root} is missing`);
  return { certificate, privateKey, root, chain: chain ?? certificate };
}

/** Writes all files so that a reader, or a restart after a power cut, sees the old set or the new one. */
export async function writeCaDirectory(directory: string, files: CaFiles): Promise<void> {
  await mkdir(directory, { recursive: true, mode: 0o700 });
  for (const part of writeOrder) {
    const path = pendingPath(directory, part);
    await rm(path, { force: true });
    const handle = await open(path, 'wx', part === 'privateKey' ? 0o600 : 0o644);
    try {
      await handle.writeFile(files[part]);
      await handle.sync();
    } finally {
      await handle.close();
    }
  }
  for (const part of writeOrder)
    await rename(pendingPath(directory, part), join(directory, caFileNames[part]));
}

/** Keeps the authority in a directory, which belongs to one control plane. */
export function directoryKeeper(directory: string): CaKeeper {
  return {
    read: () => readCaDirectory(directory),
    async create(files) {
      await writeCaDirectory(directory, files);
      return files;
    },
    async replace(files) {
      await writeCaDirectory(directory, files);
      return true;
    },
  };
}
