/** kubeconfig files: clusters, users and contexts, to access to one API server. What is not supported is refused by name. */
import { readFile } from 'node:fs/promises';
import { dirname, isAbsolute, resolve } from 'node:path';
import { parse } from 'yaml';
import type { AccessMaterial, KubeAccess } from './access.ts';
import { type ExecOptions, execCredential } from './exec_credential.ts';

/** Which files and which context. */
export interface KubeConfigOptions {
  /** Files, as KUBECONFIG lists them: of two entries of one name the first counts. Those that are absent are skipped. */
  readonly paths: readonly string[];
  /** Default `current-context`. */
  readonly context?: string;
  /** Environment of programs that give credentials. */
  readonly environment: Readonly<Record<string, string | undefined>>;
}

type Fields = Readonly<Record<string, unknown>>;

/** An entry with the folder that relative paths in it start from. */
interface Entry {
  readonly directory: string;
  readonly fields: Fields;
}

interface Merged {
  readonly clusters: Map<string, Entry>;
  readonly users: Map<string, Entry>;
  readonly contexts: Map<string, Entry>;
  current: string;
}

/** Fields that are known and not supported. */
const refused = {
  cluster: ['proxy-url'],
  user: ['auth-provider', 'username', 'password', 'as', 'as-groups', 'as-user-extra', 'as-uid'],
} as const;

/** Largest file in characters. */
const maxChars = 4 * 1024 * 1024;

/** How long a token from a file is used before the file is read again. */
const tokenFileMs = 30_000;

function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function textOf(fields: Fields, name: string): string | undefined {
  const value = fields[name];
  return typeof value === 'string' && value !== '' ? value : undefined;
}

function addEntries(into: Map<string, Entry>, list: unknown, field: string, directory: string): void {
  if (!Array.isArray(list)) return;
  for (const item of list as readonly unknown[]) {
    if (!isFields(item)) continue;
    const name = textOf(item, 'name');
    const fields = item[field];
    if (name === undefined || into.has(name)) continue;
    into.set(name, { directory, fields: isFields(fields) ? fields : {} });
  }
}

async function readFiles(paths: readonly string[]): Promise<Merged> {
  const merged: Merged = { clusters: new Map(), users: new Map(), contexts: new Map(), current: '' };
  let found = false;
  for (const path of paths) {
    let text: string;
    try {
      text = await readFile(path, 'utf8');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT' && paths.length > 1) continue;
      throw new Error(`kubeconfig ${path} cannot be read: ${(error as Error).message}`, { cause: error });
    }
    found = true;
    if (text.length > maxChars) throw new Error(`kubeconfig ${path} is longer than ${maxChars} characters`);
    let value: unknown;
    try {
      value = parse(text);
    } catch (error) {
      throw new Error(`kubeconfig ${path} is no YAML`, { cause: error });
    }
    if (!isFields(value)) throw new Error(`kubeconfig ${path} holds no object`);
    const directory = dirname(resolve(path));
    addEntries(merged.clusters, value['clusters'], 'cluster', directory);
    addEntries(merged.users, value['users'], 'user', directory);
    addEntries(merged.contexts, value['contexts'], 'context', directory);
    if (merged.current === '') merged.current = textOf(value, 'current-context') ?? '';
  }
  if (!found) throw new Error(`no kubeconfig at ${paths.join(', ')}`);
  return merged;
}

/** The PEM text of `NAME-data` (base64) or of the file `NAME`. */
async function pem({ fields, directory }: Entry, name: string): Promise<string | undefined> {
  const data = textOf(fields, `${name}-data`);
  if (data !== undefined) return Buffer.from(data, 'base64').toString('utf8');
  const path = textOf(fields, name);
  return path === undefined ? undefined : await readFile(absolute(path, directory), 'utf8');
}

function absolute(path: string, directory: string): string {
  return isAbsolute(path) ? path : resolve(directory, path);
}

function refuse(kind: keyof typeof refused, name: string, { fields }: Entry): void {
  for (const field of refused[kind]) {
    if (fields[field] !== undefined)
      throw new Error(`kubeconfig: ${kind} ${name}: ${field} is not supported`);
  }
}

function readExec(
  exec: Fields,
  { directory }: Entry,
  cluster: Fields,
  server: string,
  ca: string | undefined,
  environment: KubeConfigOptions['environment'],
): ExecOptions {
  const command = textOf(exec, 'command');
  if (command === undefined) throw new Error('kubeconfig: exec names no command');
  const apiVersion = textOf(exec, 'apiVersion') ?? 'client.authentication.k8s.io/v1';
  if (!/^client\.authentication\.k8s\.io\/v1(?:beta1)?$/.test(apiVersion))
    throw new Error(`kubeconfig: exec: apiVersion ${apiVersion} is not supported`);
  if (exec['interactiveMode'] === 'Always')
    throw new Error('kubeconfig: exec: interactiveMode Always is not supported');
  const env: Record<string, string> = {};
  for (const item of Array.isArray(exec['env']) ? (exec['env'] as readonly unknown[]) : []) {
    if (isFields(item)) env[String(item['name'])] = String(item['value'] ?? '');
  }
  const args = Array.isArray(exec['args']) ? (exec['args'] as readonly unknown[]).map(String) : [];
  const info = {
    server,
    ...(ca === undefined ? {} : { 'certificate-authority-data': Buffer.from(ca).toString('base64') }),
    ...(cluster['tls-server-name'] === undefined ? {} : { 'tls-server-name': cluster['tls-server-name'] }),
  };
  return {
    // A bare name is looked up on the PATH, as kubectl does.
    command: command.includes('/') ? absolute(command, directory) : command,
    args,
    env,
    apiVersion,
    environment,
    directory,
    ...(exec['provideClusterInfo'] === true ? { cluster: info } : {}),
  };
}

/** A token from a file that somebody renews. */
function tokenFile(path: string): Pick<KubeAccess, 'material' | 'refresh'> {
  let token: string | undefined;
  let readAt = 0;
  return {
    async material() {
      if (token === undefined || Date.now() - readAt > tokenFileMs) {
        token = (await readFile(path, 'utf8')).trim();
        readAt = Date.now();
      }
      return { token };
    },
    refresh: () => void (token = undefined),
  };
}

/**
 * Reads access to the API server of a context. Client certificates and keys, tokens, token files and exec programs are
 * supported; `auth-provider`, passwords, impersonation and `proxy-url` are refused.
 * @throws Error that names the file, the entry and the field.
 */
export async function kubeConfigAccess(options: KubeConfigOptions): Promise<KubeAccess> {
  const merged = await readFiles(options.paths);
  const files = options.paths.join(', ');
  const contextName = options.context ?? merged.current;
  if (contextName === '') throw new Error(`kubeconfig ${files}: no current-context`);
  const context = merged.contexts.get(contextName);
  if (context === undefined) throw new Error(`kubeconfig ${files}: no context ${contextName}`);
  const clusterName = textOf(context.fields, 'cluster') ?? '';
  const cluster = merged.clusters.get(clusterName);
  if (cluster === undefined)
    throw new Error(`kubeconfig ${files}: no cluster ${JSON.stringify(clusterName)}`);
  const userName = textOf(context.fields, 'user') ?? '';
  const user = merged.users.get(userName) ?? { directory: cluster.directory, fields: {} };
  if (userName !== '' && !merged.users.has(userName))
    throw new Error(`kubeconfig ${files}: no user ${JSON.stringify(userName)}`);
  refuse('cluster', clusterName, cluster);
  refuse('user', userName, user);

  const server = textOf(cluster.fields, 'server');
  if (server === undefined || !/^https?:\/\//.test(server))
    throw new Error(`kubeconfig: cluster ${clusterName}: server is not an https URL`);
  const ca = await pem(cluster, 'certificate-authority');
  const cert = await pem(user, 'client-certificate');
  const key = await pem(user, 'client-key');
  if ((cert === undefined) !== (key === undefined))
    throw new Error(`kubeconfig: user ${userName}: client-certificate and client-key go together`);
  const fixed: AccessMaterial = {
    ...(ca === undefined ? {} : { ca }),
    ...(cert === undefined || key === undefined ? {} : { cert, key }),
  };
  const { exec } = user.fields;
  const token = textOf(user.fields, 'token');
  const file = textOf(user.fields, 'tokenFile');
  const source: Pick<KubeAccess, 'material' | 'refresh'> | undefined = isFields(exec)
    ? execCredential(readExec(exec, user, cluster.fields, server, ca, options.environment))
    : file !== undefined
      ? tokenFile(absolute(file, user.directory))
      : undefined;
  const tlsServerName = textOf(cluster.fields, 'tls-server-name');
  return {
    server: server.replace(/\/+$/, ''),
    origin: `kubeconfig ${files}, context ${contextName}`,
    namespace: textOf(context.fields, 'namespace') ?? 'default',
    verify: cluster.fields['insecure-skip-tls-verify'] !== true,
    ...(tlsServerName === undefined ? {} : { tlsServerName }),
    material: async () => ({
      ...fixed,
      ...(token === undefined ? {} : { token }),
      ...(source === undefined ? {} : await source.material()),
    }),
    refresh: () => source?.refresh(),
  };
}
