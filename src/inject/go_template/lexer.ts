/** Go's `text/template` cut into text and actions, and actions into tokens. */
import { TemplateError } from './template_error.ts';

/** One word of an action. */
export interface Token {
  readonly kind: 'identifier' | 'field' | 'variable' | 'string' | 'number' | 'dot' | 'symbol';
  /** For strings: their content. For fields: the name without its dot. */
  readonly text: string;
  readonly line: number;
  /** A blank stands before it: `a .b` are two words, `a.b` is one. */
  readonly spaced: boolean;
}

/** A piece of a template. */
export type Piece =
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'action'; readonly tokens: readonly Token[]; readonly line: number };

/** Longest template, in characters. */
const maxLength = 1_048_576;

const blank = /[ \t\r\n]/;
const word =
  /([ \t\r\n]+)|(\$[\p{L}\p{N}_]*)|(\.[\p{L}_][\p{L}\p{N}_]*)|([\p{L}_][\p{L}\p{N}_]*)|([+-]?(?:0[xX][0-9a-fA-F_]+|0[oO][0-7_]+|0[bB][01_]+|\d[\d_]*(?:\.\d*)?(?:[eE][+-]?\d+)?|\.\d+))|("(?:[^"\\\n]|\\.)*")|(`[^`]*`)|('(?:[^'\\\n]|\\.)+')|(:=|[|(),=.])/uy;

/** Cuts a template; blanks beside `{{-` and `-}}` go. */
export function cutTemplate(source: string, name: string): Piece[] {
  if (source.length > maxLength) throw new TemplateError(name, 1, `expected at most ${maxLength} characters`);
  const pieces: Piece[] = [];
  let at = 0;
  let line = 1;
  let trimNext = false;
  const advance = (to: number): void => {
    for (; at < to; at++) if (source[at] === '\n') line++;
  };
  while (at < source.length) {
    const open = source.indexOf('{{', at);
    const end = open === -1 ? source.length : open;
    let text = source.slice(at, end);
    if (trimNext) text = text.replace(/^[ \t\r\n]+/, '');
    const trimLeft = open !== -1 && source[open + 2] === '-' && blank.test(source[open + 3] ?? '');
    if (trimLeft) text = text.trimEnd();
    if (text !== '') pieces.push({ kind: 'text', text });
    advance(end);
    if (open === -1) break;
    advance(open + (trimLeft ? 4 : 2));
    const action = cutAction(source, at, line, name);
    pieces.push({ kind: 'action', tokens: action.tokens, line });
    advance(action.end);
    trimNext = action.trimRight;
  }
  return pieces;
}

interface Action {
  readonly tokens: readonly Token[];
  readonly end: number;
  readonly trimRight: boolean;
}

/** The end of an action: `}}`, or ` -}}`, which also takes the blanks that follow. */
function closing(
  source: string,
  at: number,
  afterBlank: boolean,
): { readonly length: number; readonly trim: boolean } | undefined {
  if (source.startsWith('}}', at)) return { length: 2, trim: false };
  if (afterBlank && source.startsWith('-}}', at)) return { length: 3, trim: true };
  return undefined;
}

function cutAction(source: string, start: number, startLine: number, name: string): Action {
  const tokens: Token[] = [];
  let at = start;
  let line = startLine;
  // The blank of `{{- ` was read with it.
  let spaced = start > 0 && blank.test(source[start - 1] ?? '');
  while (at < source.length) {
    const end = closing(source, at, spaced);
    if (end !== undefined) return { tokens, end: at + end.length, trimRight: end.trim };
    if (source.startsWith('/*', at)) {
      const close = source.indexOf('*/', at + 2);
      if (close === -1) throw new TemplateError(name, line, 'a comment does not end');
      line += source.slice(at, close).split('\n').length - 1;
      at = close + 2;
      continue;
    }
    word.lastIndex = at;
    const match = word.exec(source);
    if (match === null)
      throw new TemplateError(name, line, `unexpected ${JSON.stringify(source[at])} in an action`);
    if (match[1] === undefined) tokens.push(token(match, line, spaced, name));
    spaced = match[1] !== undefined;
    line += match[0].split('\n').length - 1;
    at = word.lastIndex;
  }
  throw new TemplateError(name, startLine, 'an action does not end: expected }}');
}

function token(match: RegExpExecArray, line: number, spaced: boolean, name: string): Token {
  const [all, , variable, field, identifier, number, quoted, raw, character] = match;
  const of = (kind: Token['kind'], text: string): Token => ({ kind, text, line, spaced });
  if (variable !== undefined) return of('variable', variable);
  if (field !== undefined) return of('field', field.slice(1));
  if (identifier !== undefined) return of('identifier', identifier);
  if (number !== undefined) return of('number', number);
  if (quoted !== undefined) return of('string', unquote(quoted, line, name));
  if (raw !== undefined) return of('string', raw.slice(1, -1).replaceAll('\r', ''));
  if (character !== undefined)
    return of('number', String(unquote(`"${character.slice(1, -1)}"`, line, name).codePointAt(0) ?? 0));
  return of(all === '.' ? 'dot' : 'symbol', all);
}

const escapes: Readonly<Record<string, string>> = {
  a: '\x07',
  b: '\b',
  f: '\f',
  n: '\n',
  r: '\r',
  t: '\t',
  v: '\v',
  '\\': '\\',
  "'": "'",
  '"': '"',
};

function unquote(text: string, line: number, name: string): string {
  return text
    .slice(1, -1)
    .replaceAll(
      /\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-7]{3})|(.))/g,
      (all, x, u, long, octal, other) => {
        const hex = (x ?? u ?? long) as string | undefined;
        if (hex !== undefined || octal !== undefined) {
          const code = hex === undefined ? Number.parseInt(octal as string, 8) : Number.parseInt(hex, 16);
          if (code <= 0x10_ff_ff) return String.fromCodePoint(code);
        }
        const known = escapes[String(other)];
        if (known === undefined) throw new TemplateError(name, line, `unknown escape ${String(all)}`);
        return known;
      },
    );
}
