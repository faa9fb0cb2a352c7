/** `/logging`: levels of all loggers, or of one. */
import type { LogLevel } from '#base/log.ts';
import { type AdminPage, type AdminReply, text } from './page.ts';
import type { ProxyState } from './proxy_state.ts';

/** Envoy's names of levels, onto ours. */
const envoyLevels: Readonly<Record<string, LogLevel>> = {
  trace: 'debug',
  debug: 'debug',
  info: 'info',
  warning: 'warn',
  error: 'error',
  critical: 'error',
  off: 'none',
};

const shownLevels: Readonly<Record<LogLevel, string>> = {
  debug: 'debug',
  info: 'info',
  warn: 'warning',
  error: 'error',
  none: 'off',
};

function levelOf(name: string | null | undefined): LogLevel | undefined {
  return name === 'warn' ? 'warn' : envoyLevels[name ?? ''];
}

function active({ logLevels }: ProxyState): string {
  const lines = [...logLevels.all()].map(([name, level]) => `  ${name}: ${shownLevels[level]}\n`);
  return `active loggers:\n${lines.join('')}\n`;
}

function usage(state: ProxyState, error: string): AdminReply {
  return text(
    `error: ${error}\n\n` +
      'usage: /logging?<name>=<level> (change single level)\n' +
      'usage: /logging?paths=name1:level1,name2:level2,... (change multiple levels)\n' +
      'usage: /logging?level=<level> (change all levels)\n' +
      `levels: ${Object.keys(envoyLevels).join(' ')} \n${active(state)}`,
    400,
  );
}

/** Name and level pairs that the request asks for, or what is wrong with it. */
function wanted(query: URLSearchParams): [string, string][] | string {
  if (query.size > 1) return 'invalid number of parameters';
  const [only] = query;
  if (only === undefined) return [];
  const [name, value] = only;
  if (name === 'group') return 'group parameter requires fine-grain logging to be enabled';
  if (name !== 'paths') return [[name, value]];
  const pairs = value.split(',').map((pair) => pair.split(':'));
  if (pairs.some((pair) => pair.length !== 2)) return 'empty logger name or empty logger level';
  return pairs.map(([logger = '', level = '']) => [logger, level]);
}

export const logging: AdminPage = {
  path: '/logging',
  help: 'query/change logging levels',
  changes: true,
  parameters: [
    {
      name: 'paths',
      help: 'Change multiple logging levels by setting to <logger_name1>:<desired_level1>,<logger_name2>:<desired_level2>',
    },
    {
      name: 'level',
      help: 'desired logging level, for all loggers; One of (, trace, debug, info, warning, error, critical, off)',
    },
  ],
  answer(state, { query }) {
    const pairs = wanted(query);
    if (typeof pairs === 'string') return usage(state, pairs);
    const known = state.logLevels.all();
    for (const [name, level] of pairs) {
      if (name !== 'level' && !known.has(name)) return usage(state, 'unknown logger name');
      if (levelOf(level) === undefined) return usage(state, 'unknown logger level');
    }
    for (const [name, level] of pairs)
      state.logLevels.set(name === 'level' ? undefined : name, levelOf(level) ?? 'info');
    return text(active(state));
  },
};
