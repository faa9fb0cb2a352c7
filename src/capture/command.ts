import { spawn } from 'node:child_process';
import { CaptureError } from './capture_error.ts';

/** What a finished program left. */
export interface CommandResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** How programs are run. */
export interface CommandOptions {
  /** Text for standard input. */
  readonly input?: string;
  /** File of the network namespace to run in; needs `nsenter`. Default: the caller's. */
  readonly networkNamespace?: string;
  /** Environment beside the search path. */
  readonly env?: Readonly<Record<string, string>>;
}

/** Rule sets print far less; a program that prints more is cut off. */
const maxOutputBytes = 8 << 20;
/** Longer than iptables waits for its lock. */
const timeoutMs = 60_000;
const searchPath = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/**
 * Runs a program to its end.
 * @throws CaptureError `missing_program` when it cannot be started
 */
export function runCommand(
  program: string,
  args: readonly string[],
  options: CommandOptions = {},
): Promise<CommandResult> {
  const { networkNamespace } = options;
  const [file, fileArgs] =
    networkNamespace === undefined
      ? [program, args]
      : ['nsenter', [`--net=${networkNamespace}`, '--', program, ...args]];
  return new Promise((resolve, reject) => {
    const child = spawn(file, fileArgs, {
      env: { PATH: searchPath, LC_ALL: 'C', ...options.env },
      timeout: timeoutMs,
      killSignal: 'SIGKILL',
    });
    const output = { stdout: '', stderr: '' };
    for (const name of ['stdout', 'stderr'] as const)
      child[name].setEncoding('utf8').on('data', (text: string) => {
        output[name] += text;
        if (output[name].length > maxOutputBytes) child.kill('SIGKILL');
      });
    child.on('error', (cause) =>
      reject(new CaptureError('missing_program', `cannot run ${file}: ${cause.message}`, { cause })),
    );
    child.on('close', (code) => resolve({ code: code ?? -1, ...output }));
    // A program that ends early closes its input; its exit code tells.
    child.stdin.on('error', () => {});
    child.stdin.end(options.input ?? '');
  });
}
