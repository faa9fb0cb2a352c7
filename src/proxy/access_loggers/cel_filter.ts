/** `envoy.access_loggers.extension_filters.cel`: a CEL expression decides what is logged. Telemetry's filters become this. */
import { createRequire } from 'node:module';
import { fromBinary } from '@bufbuild/protobuf';
import type { ASTNode, Environment } from '@marcbachmann/cel-js';
import { ExpressionFilterSchema } from '#api/gen/envoy/extensions/access_loggers/filters/cel/v3/cel_pb.ts';
import { isSafeForV8 } from '../http/regex.ts';
import { celContext, celRoots } from './cel_attributes.ts';
import type { LogPredicate } from './log_entry.ts';

/** Type URL of the filter's configuration. */
export const celFilterType: string = `type.googleapis.com/${ExpressionFilterSchema.typeName}`;

/** Bounds of one expression. */
const limits = {
  maxAstNodes: 1000,
  maxDepth: 50,
  maxListElements: 200,
  maxMapEntries: 100,
  maxCallArguments: 8,
};

const require = createRequire(import.meta.url);
let environment: Environment | undefined;

/** Loaded when a configuration has an expression: few do. */
function celEnvironment(): Environment {
  const { Environment: Language } = require('@marcbachmann/cel-js') as {
    readonly Environment: typeof Environment;
  };
  return (environment ??= new Language({ unlistedVariablesAreDyn: true, limits }));
}

function isNode(value: unknown): value is ASTNode {
  return typeof value === 'object' && value !== null && 'op' in value && 'args' in value;
}

/** Collects first names, and refuses patterns that could take long. */
function inspect(value: unknown, names: Set<string>): void {
  if (Array.isArray(value)) for (const item of value) inspect(item, names);
  if (!isNode(value)) return;
  if (value.op === 'id') names.add(value.args);
  if (value.op === 'rcall' && value.args[0] === 'matches') {
    const [pattern] = value.args[2];
    const text = pattern?.op === 'value' ? pattern.args : undefined;
    if (typeof text !== 'string') throw new Error('matches() takes a literal pattern');
    if (!isSafeForV8(text)) throw new Error(`pattern '${text}' of matches() is not supported`);
  }
  inspect(value.args, names);
}

/**
 * Entries for which the expression is true are logged; one that cannot be evaluated (a header that is not there) is not.
 * @throws Error for an expression that cannot run.
 */
export function compileCelExpression(expression: string): LogPredicate {
  try {
    const program = celEnvironment().parse(expression);
    const names = new Set<string>();
    inspect(program.ast, names);
    const roots = [...names].filter((name) => celRoots.has(name));
    return (entry) => {
      try {
        return program(celContext(entry, roots)) === true;
      } catch {
        return false;
      }
    };
  } catch (cause) {
    const reason = cause instanceof Error ? (cause.message.split('\n')[0] ?? '') : String(cause);
    throw new Error(`CEL expression '${expression}': ${reason}`, { cause });
  }
}

/** @throws Error for an expression that cannot run. */
export function compileCelFilter(config: Uint8Array): LogPredicate {
  const { expression, celConfig } = fromBinary(ExpressionFilterSchema, config);
  if (celConfig !== undefined) throw new Error('cel_config of a CEL filter is not implemented');
  return compileCelExpression(expression);
}
