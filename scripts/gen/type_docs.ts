/** Doc comments of the fields of interfaces, found by the path that leads to them. */
import { readFileSync, readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';

interface Member {
  readonly doc: string;
  readonly type: string;
}

interface Interface {
  readonly doc: string;
  readonly bases: readonly string[];
  readonly members: ReadonlyMap<string, Member>;
}

/** Text of a doc comment on one line. */
function plain(comment: string): string {
  return comment
    .replace(/^\/\*\*|\*\/$/g, '')
    .replace(/^\s*\* ?/gm, '')
    .replace(/\s+/g, ' ')
    .trim();
}

/** Where the part from `start` on ends: before `end` outside of brackets and text, or with the source. */
function endOf(source: string, start: number, end: string): number {
  let depth = 0;
  for (let index = start; index < source.length; index++) {
    const char = source[index] ?? '';
    if (source.startsWith('/*', index)) index = source.indexOf('*/', index) + 1;
    else if (char === "'" || char === '"') index = source.indexOf(char, index + 1);
    else if (char === end && depth === 0) return index;
    else if ('{<(['.includes(char)) depth++;
    else if ('}>)]'.includes(char)) depth--;
  }
  return source.length;
}

function membersOf(body: string): Map<string, Member> {
  const members = new Map<string, Member>();
  const pattern = /(\/\*\*(?:[^*]|\*(?!\/))*\*\/)?\s*readonly (?:'([^']+)'|(\w+))\??:/y;
  for (let at = 0; at < body.length;) {
    pattern.lastIndex = at;
    const match = pattern.exec(body);
    if (match === null) {
      at++;
      continue;
    }
    const end = endOf(body, pattern.lastIndex, ';');
    members.set(match[2] ?? match[3] ?? '', {
      doc: plain(match[1] ?? ''),
      type: body.slice(pattern.lastIndex, end).trim(),
    });
    at = end + 1;
  }
  return members;
}

function interfacesOf(source: string): Map<string, Interface> {
  const found = new Map<string, Interface>();
  const heads = /(\/\*\*(?:[^*]|\*(?!\/))*\*\/\s*)?(?:export )?interface (\w+)(?: extends ([\w, ]+?))? \{/g;
  for (const { 0: head, 1: comment = '', 2: name = '', 3: bases = '', index } of source.matchAll(heads)) {
    const start = index + head.length;
    found.set(name, {
      doc: plain(comment.trim()),
      bases: bases === '' ? [] : bases.split(',').map((base) => base.trim()),
      members: membersOf(source.slice(start, endOf(source, start, '}'))),
    });
  }
  return found;
}

/** Interfaces of a folder of sources. */
export class TypeDocs {
  readonly #files = new Map<string, Map<string, Interface>>();

  constructor(folder: string) {
    for (const entry of readdirSync(folder, { recursive: true, encoding: 'utf8' }))
      if (entry.endsWith('.ts') && !entry.endsWith('.test.ts'))
        this.#files.set(entry, interfacesOf(readFileSync(join(folder, entry), 'utf8')));
  }

  /** Of the interface in its file, else in the file's folder, else anywhere. */
  #find(name: string, file: string): (Interface & { readonly file: string }) | undefined {
    const order = [...this.#files.keys()].sort((first, second) => rank(first, file) - rank(second, file));
    for (const candidate of order) {
      const found = this.#files.get(candidate)?.get(name);
      if (found !== undefined) return { ...found, file: candidate };
    }
    return undefined;
  }

  /** The comment of what stands at `path` below an interface; `*` is an item. Undefined where there is none. */
  describe(name: string, file: string, path: readonly string[]): string | undefined {
    const [, doc] = this.#walk(name, file, path);
    return doc === undefined || doc === '' ? undefined : doc;
  }

  /** File in which the path ends, with the comment there. */
  #walk(type: string, file: string, path: readonly string[]): readonly [string, string | undefined] {
    const text = type.replace(/^readonly /, '').trim();
    const [step, ...rest] = path;
    if (step === '*') {
      const map = /^Readonly<Record<string, ([\s\S]*)>>$/.exec(text);
      const item = map?.[1] ?? text.replace(/\[\]$/, '').replace(/^\(([\s\S]*)\)$/, '$1');
      return this.#walk(item, file, rest);
    }
    const own = text.startsWith('{')
      ? { doc: '', bases: [], members: membersOf(text.slice(1, -1)), file }
      : this.#find(text, file);
    if (step === undefined) return [file, own?.doc];
    if (own === undefined) return [file, undefined];
    const member = own.members.get(step);
    if (member === undefined) {
      for (const base of own.bases) {
        const found = this.#walk(base, own.file, path);
        if (found[1] !== undefined) return found;
      }
      return [file, undefined];
    }
    const below = this.#walk(member.type, own.file, rest);
    return rest.length === 0 && member.doc !== '' ? [own.file, member.doc] : below;
  }
}

function rank(candidate: string, file: string): number {
  return candidate === file ? 0 : dirname(candidate) === dirname(file) ? 1 : 2;
}
