/** The parts of a parsed template. */

/** A word of a command: a value, or a function with arguments when it stands first. */
export type Operand =
  | { readonly kind: 'dot' | 'nil' }
  | { readonly kind: 'text'; readonly value: string }
  | { readonly kind: 'number'; readonly value: number }
  | { readonly kind: 'bool'; readonly value: boolean }
  | { readonly kind: 'function'; readonly name: string }
  | { readonly kind: 'variable'; readonly name: string; readonly fields: readonly string[] }
  | { readonly kind: 'field'; readonly fields: readonly string[] }
  | { readonly kind: 'pipeline'; readonly pipeline: Pipeline; readonly fields: readonly string[] };

/** `printf "%s" .Name`. */
export interface Command {
  readonly operands: readonly Operand[];
  readonly line: number;
}

/** `$x := .Name | quote`. */
export interface Pipeline {
  readonly variables: readonly string[];
  /** `:=` declares, `=` assigns. */
  readonly declares: boolean;
  readonly commands: readonly Command[];
  readonly line: number;
}

/** A part of a template's body. */
export type Node =
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'output'; readonly pipeline: Pipeline; readonly line: number }
  | {
      readonly kind: 'if' | 'with' | 'range';
      readonly pipeline: Pipeline;
      readonly body: readonly Node[];
      readonly otherwise: readonly Node[];
      readonly line: number;
    }
  | {
      readonly kind: 'template';
      readonly name: string;
      readonly pipeline: Pipeline | undefined;
      readonly line: number;
    }
  | { readonly kind: 'break' | 'continue'; readonly line: number };

/** A template with those it defines. */
export interface ParsedTemplate {
  readonly name: string;
  readonly body: readonly Node[];
  readonly definitions: ReadonlyMap<string, readonly Node[]>;
}
