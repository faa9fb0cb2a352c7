/** Credentials from a program that a kubeconfig names (client.authentication.k8s.io ExecCredential). */
import { spawn } from 'node:child_process';
import type { AccessMaterial } from './access.ts';

/** `users[].user.exec` of a kubeconfig. */
export interface ExecOptions {
  readonly command: string;
  readonly args: readonly string[];
  /** Added to the environment of this process. */
  readonly env: Readonly<Record<string, string>>;
  /** `client.authentication.k8s.io/v1` or `v1beta1`. */
  readonly apiVersion: string;
  /** Environment of the program, before `env`. */
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** Folder of the kubeconfig: relative commands start there. */
  readonly directory: string;
  /** Told to programs that ask for it (`provideClusterInfo`). */
  readonly cluster?: Readonly<Record<string, unknown>>;
  /** Milliseconds since the epoch. Default `Date.now`. */
  readonly now?: () => number;
}

/** Longest run of a program, and most bytes it may print. */
const timeoutMs = 60_000;
const maxOutputBytes = 1024 * 1024;
/** Credentials are renewed this long before they end. */
const earlyMs = 30_000;

interface ExecCredential {
  readonly kind?: unknown;
  readonly status?: {
    readonly token?: unknown;
    readonly clientCertificateData?: unknown;
    readonly clientKeyData?: unknown;
    readonly expirationTimestamp?: unknown;
  };
}

function run(options: ExecOptions): Promise<string> {
  const info = {
    apiVersion: options.apiVersion,
    kind: 'ExecCredential',
    spec: { interactive: false, ...(options.cluster === undefined ? {} : { cluster: options.cluster }) },
  };
  const env = { ...options.environment, ...options.env, KUBERNETES_EXEC_INFO: JSON.stringify(info) };
  return new Promise((resolve, reject) => {
    const child = spawn(options.command, options.args, {
      cwd: options.directory,
      env,
      stdio: ['ignore', 'pipe', 'inherit'],
      timeout: timeoutMs,
      killSignal: 'SIGKILL',
    });
    let text = '';
    child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
      text += chunk;
      if (text.length > maxOutputBytes) child.kill('SIGKILL');
    });
    child.once('error', (error) => reject(new Error(`${options.command}: ${error.message}`)));
    child.once('close', (code, signal) => {
      if (text.length > maxOutputBytes) reject(new Error(`${options.command} printed too much`));
      else if (code === 0) resolve(text);
      else reject(new Error(`${options.command} ended with ${signal ?? `status ${code}`}`));
    });
  });
}

function optional(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined;
}

/** Runs the program when its last answer has ended, or was refused. Calls at one time share one run. */
export function execCredential(options: ExecOptions): {
  material(): Promise<AccessMaterial>;
  refresh(): void;
} {
  const now = options.now ?? Date.now;
  let current: AccessMaterial | undefined;
  let endsAt = 0;
  let running: Promise<AccessMaterial> | undefined;

  async function get(): Promise<AccessMaterial> {
    let answer: ExecCredential;
    const text = await run(options);
    try {
      answer = JSON.parse(text) as ExecCredential;
    } catch {
      throw new Error(`${options.command} printed no JSON`);
    }
    const { status } = answer;
    const token = optional(status?.token);
    const cert = optional(status?.clientCertificateData);
    const key = optional(status?.clientKeyData);
    if (
      answer.kind !== 'ExecCredential' ||
      (token === undefined && (cert === undefined || key === undefined))
    )
      throw new Error(`${options.command} printed no ExecCredential with a token or a certificate`);
    const end = Date.parse(optional(status?.expirationTimestamp) ?? '');
    endsAt = Number.isNaN(end) ? Number.POSITIVE_INFINITY : end - earlyMs;
    current = {
      ...(token === undefined ? {} : { token }),
      ...(cert === undefined || key === undefined ? {} : { cert, key }),
    };
    return current;
  }

  return {
    async material() {
      if (current !== undefined && now() < endsAt) return current;
      running ??= get().finally(() => (running = undefined));
      return await running;
    },
    refresh() {
      current = undefined;
    },
  };
}
