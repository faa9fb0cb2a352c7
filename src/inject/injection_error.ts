/** A pod or a template that is wrong, so that injection cannot be done; the message names what, each on its own. */
export class InjectionError extends Error {
  readonly problems: readonly string[];
  constructor(problems: readonly string[], options?: ErrorOptions) {
    super(problems.join('; '), options);
    this.problems = problems;
  }
}
