/** Conditions of HTTP rules, and how strings match. */
import type { Checker } from '../../schema/checker.ts';
import { isHeaderName } from '../../schema/headers.ts';
import { isDnsLabel, labels, port } from '../../schema/names.ts';
import { regex } from '../../schema/regex.ts';
import { type Rule, type Schema, boolean, list, map, object, string } from '../../schema/schema.ts';
import { gatewayNames } from './destination.ts';
import type { HTTPMatchRequest, StringMatch } from './types.ts';

/** Prefix of headers that stand for claims of a verified token (`@request.auth.claims.group`). */
export const claimHeaderPrefix = '@request.auth.claims';

/** `StringMatch`. An empty one is a match on presence. */
export const stringMatch: Schema<StringMatch> = object<StringMatch>(
  {
    exact: string(),
    prefix: string({ minLength: 1, expected: 'a prefix that is not empty' }),
    regex: { ...regex, check: checkRegex },
  },
  { atMostOneOf: [['exact', 'prefix', 'regex']] },
);

function checkRegex(value: unknown, at: Checker): void {
  if (value === '') at.error('invalid_regex', 'expected a regular expression that is not empty, found ""');
  else regex.check(value, at);
}

const headerKey: Rule<string> = (name, at) => {
  if (
    name === claimHeaderPrefix ||
    name.startsWith(`${claimHeaderPrefix}.`) ||
    name.startsWith(`${claimHeaderPrefix}[`)
  ) {
    return;
  }
  if (isHeaderName(name)) return;
  if (name.startsWith(':')) {
    at.error('invalid_header', `pseudo header ${JSON.stringify(name)}: use uri, scheme, method or authority`);
  } else at.mismatch('invalid_header', 'a header name such as "end-user"', name);
};

/** `HTTPMatchRequest`. */
export const httpMatch: Schema<HTTPMatchRequest> = object<HTTPMatchRequest>(
  {
    name: string(),
    uri: stringMatch,
    scheme: stringMatch,
    method: stringMatch,
    authority: stringMatch,
    headers: map(stringMatch, { key: headerKey }),
    port,
    sourceLabels: labels,
    gateways: list(string(), { rule: gatewayNames }),
    queryParams: map(stringMatch, {
      key: (name, at) => {
        if (name === '') at.error('invalid_value', 'query parameter name cannot be empty');
      },
    }),
    ignoreUriCase: boolean,
    withoutHeaders: map(stringMatch, { key: headerKey }),
    sourceNamespace: string({
      expected: 'a namespace',
      code: 'invalid_name',
      test: (namespace) => namespace === '' || isDnsLabel(namespace),
    }),
    statPrefix: string(),
  },
  {
    rule(match, at) {
      if (match.uri?.prefix?.endsWith('/*') === true) {
        at.warn('no_effect', 'a prefix is taken as it stands: "*" matches only itself', ['uri', 'prefix']);
      }
      for (const [name, { prefix }] of Object.entries(match.queryParams ?? {})) {
        if (prefix !== undefined) {
          at.warn('no_effect', 'prefix is not supported for query parameters', [
            'queryParams',
            name,
            'prefix',
          ]);
        }
      }
    },
  },
);
