/**
 * Regular expressions from configuration, with RE2's syntax and meaning, in linear time. V8's engine runs those that both
 * engines read alike (it falls back to its own linear engine when a pattern backtracks too much); the others run on re2js.
 */
import { createRequire } from 'node:module';
import { setFlagsFromString } from 'node:v8';
import type { RE2JS } from 're2js';
import type { RegexMatchAndSubstitute, RegexMatcher } from '#api/gen/envoy/type/matcher/v3/regex_pb.ts';

// The fallback covers neither the flags `i` and `u` nor large counted repetitions: patterns with those run on re2js. The
// second switch makes the flag `l`, by which V8 tells whether its linear engine can take a pattern.
setFlagsFromString('--enable-experimental-regexp-engine-on-excessive-backtracks');
setFlagsFromString('--enable-experimental-regexp-engine');

const require = createRequire(import.meta.url);
let re2js: typeof RE2JS | undefined;

/** Loaded when a pattern needs it: few do, and it takes 4 MB. */
function loadRe2(): typeof RE2JS {
  re2js ??= (require('re2js') as { readonly RE2JS: typeof RE2JS }).RE2JS;
  return re2js;
}

/** Longest pattern, characters. */
const maxPatternLength = 16 * 1024;

export interface Regex {
  /** True when the whole text matches. */
  matches(text: string): boolean;
  /** True when a part of the text matches. */
  find(text: string): boolean;
  /** Replaces every match; `\1` to `\9` in the substitution give groups, `\0` the match (RE2 Rewrite). */
  replaceAll(text: string, substitution: string): string;
}

/** Escapes that mean the same in RE2 and JavaScript; all other letters and digits go to re2js. */
const sharedEscapes = new Set('dDwWbBnrtfv');

/** True when V8 reads the pattern as RE2 does. Conservative: a doubt means false. */
function meansTheSame(pattern: string): boolean {
  for (let i = 0; i < pattern.length; i++) {
    const c = pattern.charCodeAt(i);
    if (c > 126) return false;
    if (c === 92) {
      const next = pattern[++i];
      if (next === undefined) return false;
      if (/[A-Za-z0-9]/.test(next) && !sharedEscapes.has(next)) return false;
    } else if (c === 40 && pattern[i + 1] === '?' && pattern[i + 2] !== ':') return false;
    else if (c === 91) {
      // Bracket expressions: `[]a]`, `[^]a]` and `[[:alpha:]]` differ.
      const next = pattern[i + 1] === '^' ? pattern[i + 2] : pattern[i + 1];
      if (next === ']' || pattern.indexOf('[:', i) >= 0) return false;
    }
  }
  return true;
}

/** V8's own flag; no other engine knows it. */
const linearFlag = 'l';

/** True when V8 can fall back to its linear engine for this pattern. */
function runsInLinearTime(pattern: string): boolean {
  try {
    void new RegExp(`^(?:${pattern})$`, linearFlag);
    return true;
  } catch {
    return false;
  }
}

class V8Regex implements Regex {
  readonly #full: RegExp;
  readonly #part: RegExp;
  readonly #all: RegExp;

  constructor(pattern: string) {
    this.#full = new RegExp(`^(?:${pattern})$`);
    this.#part = new RegExp(pattern);
    this.#all = new RegExp(pattern, 'g');
  }

  matches(text: string): boolean {
    return this.#full.test(text);
  }

  find(text: string): boolean {
    return this.#part.test(text);
  }

  replaceAll(text: string, substitution: string): string {
    return text.replace(this.#all, (...groups: unknown[]) => rewrite(substitution, (n) => groups[n]));
  }
}

class Re2Regex implements Regex {
  readonly #re: RE2JS;

  constructor(re: RE2JS) {
    this.#re = re;
  }

  matches(text: string): boolean {
    return this.#re.matches(text);
  }

  find(text: string): boolean {
    return this.#re.matcher(text).find();
  }

  replaceAll(text: string, substitution: string): string {
    const matcher = this.#re.matcher(text);
    let out = '';
    let last = 0;
    while (matcher.find()) {
      out += text.slice(last, matcher.start()) + rewrite(substitution, (n) => matcher.group(n));
      last = matcher.end();
    }
    return out + text.slice(last);
  }
}

function rewrite(substitution: string, group: (n: number) => unknown): string {
  return substitution.replace(/\\([0-9\\])/g, (_all, what: string) => {
    if (what === '\\') return '\\';
    const text = group(Number(what));
    return typeof text === 'string' ? text : '';
  });
}

/** True when V8 itself reads the pattern as RE2 does and runs it in linear time. */
export function isSafeForV8(pattern: string): boolean {
  return pattern.length <= maxPatternLength && meansTheSame(pattern) && runsInLinearTime(pattern);
}

/** Compiles a pattern; throws Error with RE2's complaint. */
export function compileRegex(pattern: string): Regex {
  if (pattern.length > maxPatternLength) throw new Error(`regex longer than ${maxPatternLength} characters`);
  let re: RE2JS;
  try {
    re = loadRe2().compile(pattern);
  } catch (error) {
    throw new Error(`regex '${pattern}': ${error instanceof Error ? error.message : String(error)}`, {
      cause: error,
    });
  }
  return meansTheSame(pattern) && runsInLinearTime(pattern) ? new V8Regex(pattern) : new Re2Regex(re);
}

/** `envoy.type.matcher.v3.RegexMatcher`; the program size limit of RE2 has no counterpart here. */
export function compileRegexMatcher(matcher: RegexMatcher | undefined): Regex {
  if (matcher === undefined || matcher.regex === '') throw new Error('regex is empty');
  return compileRegex(matcher.regex);
}

/** `RegexMatchAndSubstitute` as a function of the text. */
export function compileSubstitution(config: RegexMatchAndSubstitute): (text: string) => string {
  const regex = compileRegexMatcher(config.pattern);
  const { substitution } = config;
  if (substitution.replaceAll(/\\[0-9\\]/g, '').includes('\\'))
    throw new Error(`bad substitution '${substitution}'`);
  return (text) => regex.replaceAll(text, substitution);
}
