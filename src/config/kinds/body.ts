/** The body of Istio's kinds: a spec, and a status that the control plane writes. */
import { type Schema, anyObject, object } from '../schema/schema.ts';

/** Body of an object of Istio. */
export interface SpecBody<Spec> {
  /** Absent: as an empty spec. */
  readonly spec?: Spec;
  /** Written by the control plane; never read from files. */
  readonly status?: Readonly<Record<string, unknown>>;
}

/** Schema of a body with this spec. An absent spec is checked as an empty one. */
export function specBody<Spec>(spec: Schema<Spec>): Schema<SpecBody<Spec>> {
  const body = object<SpecBody<unknown>>({ spec, status: anyObject }) as Schema<SpecBody<Spec>>;
  return {
    expected: body.expected,
    shape: body.shape,
    check(value, at) {
      body.check(value, at);
      const given = (value as SpecBody<Spec>).spec;
      if (given === undefined || given === null) at.within('spec', () => spec.check({}, at));
    },
  };
}
