/** Header names and values in configuration. */
import { STATUS_CODES } from 'node:http';
import { type Rule, type Schema, integer, string } from './schema.ts';

/** A name that a rule may match on or log: letters, digits, `-`, `_`. */
export function isHeaderName(name: string): boolean {
  return /^[-_A-Za-z0-9]{1,256}$/.test(name);
}

/** True for pseudo headers (`:path`) and Host, which header operations must not touch. */
export function isInternalHeader(name: string): boolean {
  return name.startsWith(':') || name.toLowerCase() === 'host';
}

/** A header name. */
export const headerName: Schema<string> = string({
  expected: 'a header name such as "x-user"',
  code: 'invalid_header',
  test: isHeaderName,
});

/** Checks a name that is set, added or removed. With `authority`, Host and `:authority` may be changed too. */
export function headerOperation(authority: boolean): Rule<string> {
  return (name, at) => {
    if (name === '') at.error('invalid_header', 'header name cannot be empty');
    else if (authority && [':authority', 'host'].includes(name.toLowerCase())) return;
    else if (isInternalHeader(name))
      at.error('invalid_header', `header ${JSON.stringify(name)} cannot be changed here`);
    else if (!isHeaderName(name)) at.mismatch('invalid_header', 'a header name such as "x-user"', name);
  };
}

/** A header value: no line breaks and no NUL. */
export const headerValue: Schema<string> = string({
  expected: 'a header value without line breaks',
  code: 'invalid_header',
  test: (value) => !/[\r\n\0]/.test(value),
});

/** A status code that an answer may have: 200 to 599. */
export const answerStatus: Schema<number> = integer({ min: 200, max: 599 });

/** True for a status code with a registered meaning. */
export function isKnownStatus(text: string): boolean {
  return /^\d{3}$/.test(text) && STATUS_CODES[text] !== undefined;
}
