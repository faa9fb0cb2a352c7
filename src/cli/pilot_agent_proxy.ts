/** `pilot-agent proxy`: starts the agent, ends it on signals. */
import { startAgent } from '#agent/agent.ts';
import { createLogger, type Logger } from '#base/log.ts';
import { type LogFlags, readLogOptions } from './log_options.ts';
import { readAgentOptions } from './pilot_agent_options.ts';

type Environment = Readonly<Record<string, string | undefined>>;

function endOnSignals(terminate: () => Promise<void>, log: Logger): void {
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.on(signal, () => {
      log.info('signal received', { signal });
      terminate().catch((error: unknown) => log.error('end failed', { error }));
    });
  }
}

/**
 * Runs until the agent ends; gives the exit code: 0 after a signal, else that of the data plane.
 * @throws UsageError for flags, variables and files that cannot be used
 */
export async function runPilotAgentProxy(
  type: string,
  flags: Readonly<Record<string, unknown>>,
  env: Environment,
): Promise<number> {
  const log = createLogger({
    ...readLogOptions(flags as unknown as LogFlags),
  });
  const options = await readAgentOptions(type, flags, env, log);
  try {
    const agent = await startAgent(options);
    let asked = false;
    endOnSignals(() => {
      asked = true;
      return agent.terminate();
    }, log);
    const exit = await agent.exited;
    if (asked || (exit.code === undefined && exit.error === undefined && exit.signal === undefined)) return 0;
    if (exit.error !== undefined) log.error('the data plane failed', { error: exit.error });
    return exit.code === undefined || exit.code === 0 ? 1 : exit.code;
  } catch (error) {
    log.error('the agent did not start', { error });
    return 1;
  }
}
