/** Parses Go's `text/template` (as of Go 1.24). Functions must be known when a template is parsed. */
import type { Command, Node, Operand, ParsedTemplate, Pipeline } from './ast.ts';
import { type Piece, type Token, cutTemplate } from './lexer.ts';
import { TemplateError } from './template_error.ts';

/** Deepest nesting of blocks and parentheses. */
const maxDepth = 100;

/**
 * Parses a template.
 * @param knows whether a function of a name exists
 * @throws TemplateError with the line
 */
export function parseTemplate(
  source: string,
  name: string,
  knows: (name: string) => boolean,
): ParsedTemplate {
  return new Parser(cutTemplate(source, name), name, knows).parse();
}

interface Block {
  readonly nodes: readonly Node[];
  /** The action that ended it: `end` or `else` with what follows it; undefined at the end of the text. */
  readonly end: readonly Token[] | undefined;
}

class Parser {
  readonly #definitions = new Map<string, readonly Node[]>();
  readonly #pieces: readonly Piece[];
  readonly #name: string;
  readonly #knows: (name: string) => boolean;
  #at = 0;
  #depth = 0;
  #ranges = 0;

  constructor(pieces: readonly Piece[], name: string, knows: (name: string) => boolean) {
    this.#pieces = pieces;
    this.#name = name;
    this.#knows = knows;
  }

  parse(): ParsedTemplate {
    const { nodes, end } = this.#block();
    if (end !== undefined) throw this.#error(end[0]?.line ?? 1, `unexpected {{${end[0]?.text ?? ''}}}`);
    return { name: this.#name, body: nodes, definitions: this.#definitions };
  }

  #error(line: number, problem: string): TemplateError {
    return new TemplateError(this.#name, line, problem);
  }

  /** Everything up to `end`, `else` or the end of the text. */
  #block(): Block {
    if (++this.#depth > maxDepth) throw this.#error(1, `expected at most ${maxDepth} levels of nesting`);
    const nodes: Node[] = [];
    for (;;) {
      const piece = this.#pieces[this.#at++];
      if (piece === undefined || (piece.kind === 'action' && this.#ends(piece.tokens))) {
        this.#depth--;
        return { nodes, end: piece?.kind === 'action' ? piece.tokens : undefined };
      }
      if (piece.kind === 'text') nodes.push(piece);
      // Only a comment: nothing to do.
      else if (piece.tokens.length > 0) nodes.push(...this.#action(piece.tokens, piece.line));
    }
  }

  #ends(tokens: readonly Token[]): boolean {
    const [first] = tokens;
    return first?.kind === 'identifier' && (first.text === 'end' || first.text === 'else');
  }

  #action(tokens: readonly Token[], line: number): Node[] {
    const [first, ...rest] = tokens;
    switch (first?.kind === 'identifier' ? first.text : '') {
      case 'if':
      case 'with':
      case 'range':
        return [this.#control(first?.text as 'if' | 'with' | 'range', rest, line)];
      case 'define':
        this.#define(rest, line);
        return [];
      case 'block': {
        const [named, ...pipeline] = rest;
        const name = this.#string(named, line);
        this.#define(named === undefined ? [] : [named], line);
        return [{ kind: 'template', name, pipeline: this.#pipeline(pipeline, line), line }];
      }
      case 'template': {
        const [named, ...pipeline] = rest;
        const name = this.#string(named, line);
        return [
          {
            kind: 'template',
            name,
            pipeline: pipeline.length === 0 ? undefined : this.#pipeline(pipeline, line),
            line,
          },
        ];
      }
      case 'break':
      case 'continue':
        if (this.#ranges === 0) throw this.#error(line, `${first?.text ?? ''} outside range`);
        return [{ kind: first?.text as 'break' | 'continue', line }];
      default:
        return [{ kind: 'output', pipeline: this.#pipeline(tokens, line), line }];
    }
  }

  #string(token: Token | undefined, line: number): string {
    if (token?.kind !== 'string') throw this.#error(line, 'expected the name of a template as text');
    return token.text;
  }

  #define(tokens: readonly Token[], line: number): void {
    const name = this.#string(tokens[0], line);
    if (tokens.length > 1) throw this.#error(line, 'unexpected words after the name of a template');
    const { nodes, end } = this.#block();
    if (end?.[0]?.text !== 'end') throw this.#error(line, `template ${JSON.stringify(name)} does not end`);
    this.#definitions.set(name, nodes);
  }

  #control(kind: 'if' | 'with' | 'range', tokens: readonly Token[], line: number): Node {
    const pipeline = this.#pipeline(tokens, line, kind === 'range');
    if (kind === 'range') this.#ranges++;
    const { nodes: body, end } = this.#block();
    if (kind === 'range') this.#ranges--;
    if (end === undefined) throw this.#error(line, `{{${kind}}} does not end`);
    const [word, next, ...rest] = end;
    if (word?.text === 'end') return { kind, pipeline, body, otherwise: [], line };
    if (next === undefined) {
      const otherwise = this.#block();
      if (otherwise.end?.[0]?.text !== 'end') throw this.#error(line, `{{${kind}}} does not end`);
      return { kind, pipeline, body, otherwise: otherwise.nodes, line };
    }
    // `else if` and `else with` share the end of the whole.
    if ((next.text === 'if' || next.text === 'with') && kind !== 'range')
      return { kind, pipeline, body, otherwise: [this.#control(next.text, rest, next.line)], line };
    throw this.#error(next.line, `unexpected ${JSON.stringify(next.text)} after else`);
  }

  #pipeline(tokens: readonly Token[], line: number, twoVariables = false): Pipeline {
    if (tokens.length === 0) throw this.#error(line, 'expected a value');
    const variables: string[] = [];
    let at = 0;
    let declares = false;
    const symbol = (index: number, text: string): boolean =>
      tokens[index]?.kind === 'symbol' && tokens[index]?.text === text;
    if (tokens[0]?.kind === 'variable') {
      const second = twoVariables && symbol(1, ',') && tokens[2]?.kind === 'variable';
      const sign = second ? 3 : 1;
      if (symbol(sign, ':=') || symbol(sign, '=')) {
        variables.push(tokens[0].text);
        if (second) variables.push(tokens[2]?.text ?? '');
        declares = symbol(sign, ':=');
        at = sign + 1;
      }
    }
    const reader = new CommandReader(tokens.slice(at), line, this.#name, this.#knows);
    return { variables, declares, commands: reader.commands(), line };
  }
}

/** Reads commands between `|`, and operands between blanks. */
class CommandReader {
  readonly #tokens: readonly Token[];
  readonly #line: number;
  readonly #name: string;
  readonly #knows: (name: string) => boolean;
  #at = 0;
  #depth = 0;

  constructor(tokens: readonly Token[], line: number, name: string, knows: (name: string) => boolean) {
    this.#tokens = tokens;
    this.#line = line;
    this.#name = name;
    this.#knows = knows;
  }

  #error(problem: string, line = this.#tokens[this.#at]?.line ?? this.#line): TemplateError {
    return new TemplateError(this.#name, line, problem);
  }

  #isSymbol(text: string): boolean {
    const token = this.#tokens[this.#at];
    return token?.kind === 'symbol' && token.text === text;
  }

  commands(): Command[] {
    const commands: Command[] = [];
    do {
      commands.push(this.#command(commands.length > 0));
    } while (this.#isSymbol('|') && ++this.#at > 0);
    if (this.#depth === 0 && this.#at < this.#tokens.length)
      throw this.#error(`unexpected ${JSON.stringify(this.#tokens[this.#at]?.text)}`);
    return commands;
  }

  #command(piped: boolean): Command {
    const line = this.#tokens[this.#at]?.line ?? this.#line;
    const operands: Operand[] = [];
    while (this.#at < this.#tokens.length && !this.#isSymbol('|') && !this.#isSymbol(')')) {
      const spaced = this.#tokens[this.#at]?.spaced === true;
      const operand = this.#operand();
      if (operands.length > 0 && !spaced && operand.kind === 'field')
        throw this.#error(`unexpected .${operand.fields.join('.')} after a value`, line);
      operands.push(operand);
    }
    const [first] = operands;
    if (first === undefined) throw this.#error('expected a value', line);
    if (piped && ['text', 'number', 'bool', 'nil', 'dot'].includes(first.kind))
      throw this.#error('expected a function after |', line);
    return { operands, line };
  }

  /** Fields that follow without a blank: `$x.a.b`, `(f).a`. */
  #fields(): string[] {
    const fields: string[] = [];
    for (;;) {
      const token = this.#tokens[this.#at];
      if (token?.kind !== 'field' || token.spaced) return fields;
      fields.push(token.text);
      this.#at++;
    }
  }

  #operand(): Operand {
    const token = this.#tokens[this.#at++];
    switch (token?.kind) {
      case 'string':
        return { kind: 'text', value: token.text };
      case 'number':
        return { kind: 'number', value: Number(token.text.replaceAll('_', '')) };
      case 'dot':
        return { kind: 'dot' };
      case 'field':
        return { kind: 'field', fields: [token.text, ...this.#fields()] };
      case 'variable':
        return { kind: 'variable', name: token.text, fields: this.#fields() };
      case 'identifier':
        return this.#identifier(token);
      case 'symbol':
        if (token.text === '(') return this.#parenthesis(token);
        break;
      default:
    }
    throw this.#error(`unexpected ${JSON.stringify(token?.text ?? 'end')}`, token?.line);
  }

  #identifier({ text, line }: Token): Operand {
    if (text === 'true' || text === 'false') return { kind: 'bool', value: text === 'true' };
    if (text === 'nil') return { kind: 'nil' };
    if (!this.#knows(text)) throw this.#error(`function ${JSON.stringify(text)} is not defined`, line);
    return { kind: 'function', name: text };
  }

  #parenthesis({ line }: Token): Operand {
    if (++this.#depth > maxDepth) throw this.#error(`expected at most ${maxDepth} levels of nesting`, line);
    const commands = this.commands();
    if (!this.#isSymbol(')')) throw this.#error('expected )', line);
    this.#at++;
    this.#depth--;
    return {
      kind: 'pipeline',
      pipeline: { variables: [], declares: false, commands, line },
      fields: this.#fields(),
    };
  }
}
