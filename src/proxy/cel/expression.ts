/** CEL expressions over the attributes of a request: bounded, in linear time, loaded when a configuration has one. */
import { createRequire } from 'node:module';
import type { ASTNode, Environment } from '@marcbachmann/cel-js';
import { isSafeForV8 } from '../http/regex.ts';
import { celContext, celRoots, type CelSubject } from './attributes.ts';

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

/** The value of an expression; undefined when it cannot be evaluated (a header that is not there). */
export type CelExpression = (subject: CelSubject) => unknown;

/** @throws Error for an expression that cannot run. */
export function compileCelExpression(expression: string): CelExpression {
  try {
    const program = celEnvironment().parse(expression);
    const names = new Set<string>();
    inspect(program.ast, names);
    const roots = [...names].filter((name) => celRoots.has(name));
    return (subject) => {
      try {
        return program(celContext(subject, roots)) as unknown;
      } catch {
        return undefined;
      }
    };
  } catch (cause) {
    const reason = cause instanceof Error ? (cause.message.split('\n')[0] ?? '') : String(cause);
    throw new Error(`CEL expression '${expression}': ${reason}`, { cause });
  }
}

/** A value as Envoy prints it; undefined for lists, maps and what could not be evaluated. */
export function celText(value: unknown): string | undefined {
  if (typeof value === 'string') return value;
  if (typeof value === 'bigint' || typeof value === 'number' || typeof value === 'boolean')
    return String(value);
  return value instanceof Date ? value.toISOString() : undefined;
}
