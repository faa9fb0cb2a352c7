/** Text to YAML documents: each on its own, so that a broken one does not take its neighbours along. */
import { Composer, Lexer, LineCounter, Parser } from 'yaml';
import type { CST, Document, ParsedNode } from 'yaml';
import { yamlOptions } from './options.ts';

/** Deepest nesting that is read; Kubernetes' own objects stay below 30. */
const maxDepth = 100;
const nestingError = { code: 'limit', message: `expected at most ${maxDepth} levels of nesting` } as const;
/** Most documents in one file. */
const maxDocuments = 10_000;

/** What a text holds: a document, or the reason why it cannot be read, with offsets in the whole text. */
export interface YamlDocument {
  readonly document: Document.Parsed<ParsedNode>;
  /** Offset of the document's text in the whole text. */
  readonly offset: number;
  /** The first thing that is wrong with it. */
  readonly error?: {
    readonly code: 'syntax' | 'duplicate_key' | 'limit';
    readonly message: string;
    readonly offset: number;
  };
}

/** All documents of a text, and the lines of that text. Documents without content are left out. */
export function readDocuments(text: string): { documents: YamlDocument[]; lines: LineCounter } {
  const lines = new LineCounter();
  lines.addNewLine(0);
  for (let at = text.indexOf('\n'); at !== -1; at = text.indexOf('\n', at + 1)) lines.addNewLine(at + 1);
  const documents: YamlDocument[] = [];
  for (const { start, end } of split(text)) {
    const part = text.slice(start, end);
    for (const document of compose(part)) {
      if (documents.length >= maxDocuments) {
        const error = {
          code: 'limit',
          message: `expected at most ${maxDocuments} documents`,
          offset: start,
        } as const;
        return { documents: [...documents.slice(0, -1), { document, offset: start, error }], lines };
      }
      const read = withError(document, start, start + part.trimEnd().length);
      if (read !== undefined) documents.push(read);
    }
  }
  return { documents, lines };
}

/** Splits at lines that start with `---`, as kubectl does, also inside a scalar that was not closed. */
function split(text: string): { start: number; end: number }[] {
  const parts: { start: number; end: number }[] = [];
  let start = 0;
  for (const match of text.matchAll(/^---(?=[ \t\r\n]|$)/gm)) {
    // Directives and comments in front belong to the document that follows.
    if (
      /^(?:[ \t]*(?:#.*|%.*)?\r?\n)*$/.test(text.slice(start, match.index)) &&
      text.slice(start, match.index).includes('%')
    )
      continue;
    if (match.index > start) parts.push({ start, end: match.index });
    start = match.index;
  }
  if (start < text.length) parts.push({ start, end: text.length });
  return parts;
}

/** Marks a plain scalar in the lexer's output; its text is the next lexeme. */
const plainScalar = '\x1f';

/**
 * Lexemes as kubectl's reader would cut them: in `[001:db8::]` the last colon belongs to the text, as no blank
 * follows it. The yaml package would read a map there.
 */
function* lexemes(text: string): Generator<string> {
  // The lexemes since the last plain scalar, while they may still turn out to be such a text.
  let held: string[] = [];
  for (const lexeme of new Lexer().lex(text)) {
    const [, second = '', colon] = held;
    const ends = lexeme === ']' || lexeme === '}' || lexeme === ',';
    if (held.length >= 3 && ends) {
      yield* [plainScalar, `${second}${colon}`, lexeme];
      held = [];
      continue;
    }
    held.push(lexeme);
    // A scalar, its text, a colon, and before a comma an empty scalar for the value that is not there.
    const [marker, , third = ':', fourth = plainScalar, fifth = ''] = held;
    const mayBe = marker === plainScalar && third === ':' && fourth === plainScalar && fifth === '';
    if (mayBe && held.length <= 5) continue;
    if (lexeme === plainScalar) {
      yield* held.slice(0, -1);
      held = [lexeme];
    } else {
      yield* held;
      held = [];
    }
  }
  yield* held;
}

function* tokens(text: string): Generator<CST.Token> {
  const parser = new Parser();
  for (const lexeme of lexemes(text)) yield* parser.next(lexeme);
  yield* parser.end();
}

function compose(text: string): Document.Parsed<ParsedNode>[] {
  return [...new Composer<ParsedNode>(yamlOptions()).compose(tokens(text), true, text.length)];
}

function withError(
  document: Document.Parsed<ParsedNode>,
  start: number,
  textEnd: number,
): YamlDocument | undefined {
  const [error] = document.errors;
  if (error !== undefined) {
    const tooDeepToRead = (error.code as string) === 'RESOURCE_EXHAUSTION';
    if (tooDeepToRead)
      return { document, offset: start, error: { ...nestingError, offset: start + error.pos[0] } };
    const code = error.code === 'DUPLICATE_KEY' ? 'duplicate_key' : 'syntax';
    // An error found at the end is shown where the text ends, not on an empty line behind it.
    const offset = Math.min(start + error.pos[0], textEnd);
    return { document, offset: start, error: { code, message: error.message, offset } };
  }
  const { contents } = document;
  if (contents === null || (contents.range !== undefined && contents.range[0] === contents.range[1]))
    return undefined;
  const deep = tooDeep(contents, 0);
  if (deep !== undefined) {
    return { document, offset: start, error: { ...nestingError, offset: start + deep } };
  }
  return { document, offset: start };
}

/** Offset of the first node that lies too deep. */
function tooDeep(node: unknown, depth: number): number | undefined {
  if (typeof node !== 'object' || node === null || !('items' in node) || !Array.isArray(node.items))
    return undefined;
  if (depth > maxDepth) return (node as ParsedNode).range[0];
  for (const item of node.items as unknown[]) {
    const child =
      typeof item === 'object' && item !== null && 'value' in item && 'key' in item ? item.value : item;
    const found = tooDeep(child, depth + 1);
    if (found !== undefined) return found;
  }
  return undefined;
}
