import { runCommand } from '#capture/command.ts';
import type { CommandOptions } from '#capture/command.ts';

/** A step of building the network failed. */
export class NetworkError extends Error {
  override readonly name = 'NetworkError';
}

/**
 * Runs a program that must succeed; its standard output.
 * @throws NetworkError with what it printed
 */
export async function run(
  program: string,
  args: readonly string[],
  options?: CommandOptions,
): Promise<string> {
  const { code, stdout, stderr } = await runCommand(program, args, options);
  if (code === 0) return stdout;
  throw new NetworkError(`${program} ${args.join(' ')}: ${stderr.trim() || `exit code ${code}`}`);
}
