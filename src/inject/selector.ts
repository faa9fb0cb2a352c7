/** Label selectors (`metav1.LabelSelector`). */
import { isList, isObject } from './pod/shape.ts';

type Labels = Readonly<Record<string, string>>;

/** One expression. */
export interface LabelExpression {
  readonly key: string;
  readonly operator: 'In' | 'NotIn' | 'Exists' | 'DoesNotExist';
  readonly values: readonly string[];
}

/** All of it must hold; an empty selector holds for everything. */
export interface LabelSelector {
  readonly matchLabels: Labels;
  readonly matchExpressions: readonly LabelExpression[];
}

const operators = ['In', 'NotIn', 'Exists', 'DoesNotExist'] as const;

function expression(value: unknown): LabelExpression {
  if (!isObject(value) || typeof value['key'] !== 'string')
    throw new Error('expected matchExpressions with key and operator');
  const operator = operators.find((candidate) => candidate === value['operator']);
  if (operator === undefined) throw new Error(`expected an operator of ${operators.join(', ')}`);
  const values = value['values'] ?? [];
  if (!isList(values) || !values.every((item) => typeof item === 'string'))
    throw new Error('expected a list of texts in values');
  return { key: value['key'], operator, values: values.filter((item) => typeof item === 'string') };
}

/**
 * Reads a selector.
 * @throws Error when it is not one
 */
export function readSelector(value: unknown): LabelSelector {
  if (value === undefined || value === null) return { matchLabels: {}, matchExpressions: [] };
  if (!isObject(value)) throw new Error('expected a label selector, found no object');
  const labels = value['matchLabels'] ?? {};
  if (!isObject(labels) || !Object.values(labels).every((item) => typeof item === 'string'))
    throw new Error('expected labels with text in matchLabels');
  const expressions = value['matchExpressions'] ?? [];
  if (!isList(expressions)) throw new Error('expected a list in matchExpressions');
  return { matchLabels: labels as Labels, matchExpressions: expressions.map(expression) };
}

/** Whether one expression holds; an absent label is not in any list. */
export function holds({ key, operator, values }: LabelExpression, labels: Labels): boolean {
  const present = Object.hasOwn(labels, key);
  const value = labels[key] ?? '';
  switch (operator) {
    case 'In':
      return present && values.includes(value);
    case 'NotIn':
      return !present || !values.includes(value);
    case 'Exists':
      return present;
    case 'DoesNotExist':
      return !present;
  }
}

/** Whether a selector holds for labels. */
export function matches(selector: LabelSelector, labels: Labels): boolean {
  return (
    Object.entries(selector.matchLabels).every(([key, value]) => labels[key] === value) &&
    selector.matchExpressions.every((item) => holds(item, labels))
  );
}

/** True for a selector that holds for everything. */
export function isEmptySelector({ matchLabels, matchExpressions }: LabelSelector): boolean {
  return Object.keys(matchLabels).length === 0 && matchExpressions.length === 0;
}
