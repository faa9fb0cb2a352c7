/** Runs a parsed template over a value, within bounds of steps, depth and output. */
import type { Command, Node, Operand, ParsedTemplate, Pipeline } from './ast.ts';
import { TemplateError } from './template_error.ts';
import { type Value, isArray, isMap, isRecord, isTrue, kindOf, textOf } from './values.ts';

/** What a function may ask of the template around it. */
export interface CallContext {
  /** Runs a template that is defined beside this one. */
  include(name: string, value: Value): string;
}

/** A function of templates; throws an Error that says what is wrong. */
export type TemplateFunction = (args: readonly Value[], context: CallContext) => Value;

/** Most nodes, commands and rounds of loops. */
const maxSteps = 200_000;
/** Longest output, and longest text on the way to it. */
const maxOutput = 4 * 1024 * 1024;
/** Deepest calls of templates. */
const maxDepth = 100;

/** Functions that see their arguments one by one. */
const shortCircuit = new Set(['and', 'or']);

class LoopEnd extends Error {
  readonly kind: 'break' | 'continue';
  constructor(kind: 'break' | 'continue') {
    super(kind);
    this.kind = kind;
  }
}

interface Variable {
  readonly name: string;
  value: Value;
}

/**
 * The output of a template.
 * @throws TemplateError with template and line
 */
export function evaluate(
  template: ParsedTemplate,
  functions: ReadonlyMap<string, TemplateFunction>,
  data: Value,
): string {
  return new Evaluation(template, functions).run(data);
}

class Evaluation implements CallContext {
  readonly #template: ParsedTemplate;
  readonly #functions: ReadonlyMap<string, TemplateFunction>;
  #steps = 0;
  #depth = 0;
  #written = 0;
  #line = 1;

  constructor(template: ParsedTemplate, functions: ReadonlyMap<string, TemplateFunction>) {
    this.#template = template;
    this.#functions = functions;
  }

  run(data: Value): string {
    try {
      return this.#body(this.#template.body, data);
    } catch (error) {
      if (error instanceof TemplateError) throw error;
      throw new TemplateError(
        this.#template.name,
        this.#line,
        error instanceof Error ? error.message : String(error),
        {
          cause: error,
        },
      );
    }
  }

  include(name: string, value: Value): string {
    const nodes = this.#template.definitions.get(name);
    if (nodes === undefined) throw new Error(`template ${JSON.stringify(name)} is not defined`);
    return this.#body(nodes, value);
  }

  #body(nodes: readonly Node[], data: Value): string {
    if (++this.#depth > maxDepth) throw new Error(`expected at most ${maxDepth} nested templates`);
    const output: string[] = [];
    this.#nodes(nodes, data, [{ name: '$', value: data }], output);
    this.#depth--;
    return output.join('');
  }

  #step(line: number): void {
    this.#line = line;
    if (++this.#steps > maxSteps) throw new Error(`expected at most ${maxSteps} steps`);
  }

  #write(output: string[], text: string): void {
    this.#written += text.length;
    if (this.#written > maxOutput) throw new Error(`expected at most ${maxOutput} characters of output`);
    output.push(text);
  }

  #nodes(nodes: readonly Node[], dot: Value, scope: Variable[], output: string[]): void {
    const outer = scope.length;
    for (const node of nodes) this.#node(node, dot, scope, output);
    // Variables live to the end of their block.
    scope.length = outer;
  }

  #node(node: Node, dot: Value, scope: Variable[], output: string[]): void {
    if (node.kind === 'text') return this.#write(output, node.text);
    this.#step(node.line);
    switch (node.kind) {
      case 'output': {
        const value = this.#pipeline(node.pipeline, dot, scope);
        if (node.pipeline.variables.length === 0) this.#write(output, textOf(value));
        return;
      }
      case 'if':
      case 'with': {
        const outer = scope.length;
        const value = this.#pipeline(node.pipeline, dot, scope);
        const inner = node.kind === 'with' && isTrue(value) ? value : dot;
        this.#nodes(isTrue(value) ? node.body : node.otherwise, inner, scope, output);
        scope.length = outer;
        return;
      }
      case 'range':
        return this.#range(node, dot, scope, output);
      case 'template': {
        const value = node.pipeline === undefined ? null : this.#pipeline(node.pipeline, dot, scope);
        this.#write(output, this.include(node.name, value));
        return;
      }
      case 'break':
      case 'continue':
        throw new LoopEnd(node.kind);
    }
  }

  #range(
    node: Node & { kind: 'if' | 'with' | 'range' },
    dot: Value,
    scope: Variable[],
    output: string[],
  ): void {
    const outer = scope.length;
    const value = this.#commands(node.pipeline, dot, scope);
    const { variables, declares } = node.pipeline;
    const items = entries(value);
    for (const [key, item] of items) {
      this.#step(node.line);
      scope.length = outer;
      const values = variables.length === 2 ? [key, item] : [item];
      for (const [index, name] of variables.entries()) {
        if (declares) scope.push({ name, value: values[index] });
        else this.#assign(scope, name, values[index]);
      }
      try {
        this.#nodes(node.body, item, scope, output);
      } catch (error) {
        if (!(error instanceof LoopEnd)) throw error;
        if (error.kind === 'break') break;
      }
    }
    scope.length = outer;
    if (items.length === 0) this.#nodes(node.otherwise, dot, scope, output);
  }

  #assign(scope: readonly Variable[], name: string, value: Value): void {
    this.#variable(scope, name).value = value;
  }

  #variable(scope: readonly Variable[], name: string): Variable {
    for (let index = scope.length - 1; index >= 0; index--) {
      const variable = scope[index];
      if (variable?.name === name) return variable;
    }
    throw new Error(`variable ${name} is not defined`);
  }

  #pipeline(pipeline: Pipeline, dot: Value, scope: Variable[]): Value {
    const value = this.#commands(pipeline, dot, scope);
    for (const name of pipeline.variables) {
      if (pipeline.declares) scope.push({ name, value });
      else this.#assign(scope, name, value);
    }
    return value;
  }

  #commands({ commands }: Pipeline, dot: Value, scope: Variable[]): Value {
    let value: Value;
    for (const [index, command] of commands.entries())
      value = this.#command(command, dot, scope, index === 0 ? [] : [value]);
    return value;
  }

  #command({ operands, line }: Command, dot: Value, scope: Variable[], piped: readonly Value[]): Value {
    this.#step(line);
    const [first, ...rest] = operands;
    if (first === undefined) return undefined;
    if (first.kind === 'function') return this.#call(first.name, rest, dot, scope, piped);
    if (rest.length > 0 || piped.length > 0) {
      if (first.kind !== 'field' && first.kind !== 'variable' && first.kind !== 'pipeline')
        throw new Error('expected a function before arguments');
      const method = first.fields.at(-1);
      const owner = this.#operand({ ...first, fields: first.fields.slice(0, -1) }, dot, scope);
      if (method === undefined || !isRecord(owner)) throw new Error('a value takes no arguments');
      return owner.call(method, [...rest.map((operand) => this.#operand(operand, dot, scope)), ...piped]);
    }
    return this.#operand(first, dot, scope);
  }

  #call(
    name: string,
    rest: readonly Operand[],
    dot: Value,
    scope: Variable[],
    piped: readonly Value[],
  ): Value {
    if (shortCircuit.has(name)) return this.#shortCircuit(name, rest, dot, scope, piped);
    const run = this.#functions.get(name);
    if (run === undefined) throw new Error(`function ${JSON.stringify(name)} is not defined`);
    const args = [...rest.map((operand) => this.#operand(operand, dot, scope)), ...piped];
    let result: Value;
    try {
      result = run(args, this);
    } catch (error) {
      if (error instanceof TemplateError || error instanceof LoopEnd) throw error;
      throw new Error(`${name}: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
    }
    if (typeof result === 'string' && result.length > maxOutput)
      throw new Error(`${name}: expected at most ${maxOutput} characters`);
    return result;
  }

  #shortCircuit(
    name: string,
    rest: readonly Operand[],
    dot: Value,
    scope: Variable[],
    piped: readonly Value[],
  ): Value {
    let value: Value;
    let any = false;
    for (const operand of rest) {
      value = this.#operand(operand, dot, scope);
      any = true;
      if (isTrue(value) === (name === 'or')) return value;
    }
    for (const item of piped) {
      value = item;
      any = true;
    }
    if (!any) throw new Error(`${name}: expected at least one argument`);
    return value;
  }

  #operand(operand: Operand, dot: Value, scope: Variable[]): Value {
    switch (operand.kind) {
      case 'dot':
        return dot;
      case 'nil':
        return null;
      case 'text':
      case 'number':
      case 'bool':
        return operand.value;
      case 'function':
        return this.#call(operand.name, [], dot, scope, []);
      case 'field':
        return fieldsOf(dot, operand.fields);
      case 'variable':
        return fieldsOf(this.#variable(scope, operand.name).value, operand.fields);
      case 'pipeline':
        return fieldsOf(this.#pipeline(operand.pipeline, dot, scope), operand.fields);
    }
  }
}

/** Follows fields. A key that a map does not have is nothing; a field of nothing is an error, as in Go. */
function fieldsOf(value: Value, fields: readonly string[]): Value {
  let at = value;
  for (const name of fields) {
    if (isRecord(at)) at = at.get(name);
    else if (isMap(at)) at = Object.hasOwn(at, name) ? at[name] : undefined;
    // Messages wrap booleans and numbers; their readers are called on what is inside.
    else if (name === 'GetValue' || name === 'String') continue;
    else if (at === undefined || at === null) throw new Error(`nil pointer evaluating .${name}`);
    else throw new Error(`cannot evaluate field ${name} in a value of type ${kindOf(at)}`);
  }
  return at;
}

/** Index or key with each element; a number counts up to itself. */
function entries(value: Value): (readonly [Value, Value])[] {
  if (value === undefined || value === null) return [];
  if (isArray(value)) return value.map((item, index) => [index, item] as const);
  if (isMap(value))
    return Object.keys(value)
      .sort()
      .map((key) => [key, value[key]] as const);
  if (typeof value === 'number' && Number.isInteger(value)) {
    if (value > maxSteps) throw new Error(`expected at most ${maxSteps} rounds`);
    return Array.from({ length: Math.max(0, value) }, (_, index) => [index, index] as const);
  }
  throw new Error(`range cannot go over a value of type ${kindOf(value)}`);
}
