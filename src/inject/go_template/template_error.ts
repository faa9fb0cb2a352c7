/** A template that cannot be read or run: `template NAME:LINE: what is wrong`. */
export class TemplateError extends Error {
  readonly template: string;
  /** Starts at 1. */
  readonly line: number;
  constructor(template: string, line: number, problem: string, options?: ErrorOptions) {
    super(`template ${template}:${line}: ${problem}`, options);
    this.template = template;
    this.line = line;
  }
}
