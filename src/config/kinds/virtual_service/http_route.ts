/** One HTTP rule: its schema and what its fields allow beside each other. */
import { grpcCodes } from '#api/grpc_codes.ts';
import { Buffer } from 'node:buffer';
import type { Checker } from '../../schema/checker.ts';
import { duration, parseDurationMs } from '../../schema/duration.ts';
import { answerStatus, headerOperation, headerValue, isKnownStatus } from '../../schema/headers.ts';
import { isDnsLabel, isObjectName, port } from '../../schema/names.ts';
import { regex } from '../../schema/regex.ts';
import { type Schema, boolean, integer, list, map, object, oneOf, string } from '../../schema/schema.ts';
import { checkWeights, destination, percent, weight } from './destination.ts';
import { httpMatch, stringMatch } from './match.ts';
import type {
  CorsPolicy,
  Delegate,
  FaultAbort,
  FaultDelay,
  HTTPBody,
  HTTPDirectResponse,
  HTTPFaultInjection,
  HTTPMirrorPolicy,
  HTTPRedirect,
  HTTPRetry,
  HTTPRewrite,
  HTTPRoute,
  HTTPRouteDestination,
  HeaderOperations,
  Headers,
  RegexRewrite,
} from './types.ts';

/** Longest body of a direct response, in bytes. */
const maxBodyBytes = 1_048_576;
/** From here on a body burdens every push. */
const largeBodyBytes = 102_400;

function headerOperations(authority: boolean): Schema<HeaderOperations> {
  const key = headerOperation(authority);
  return object<HeaderOperations>({
    set: map(headerValue, { key }),
    add: map(headerValue, { key }),
    remove: list(string({ rule: headerOperation(false) })),
  });
}

const headers = object<Headers>({ request: headerOperations(true), response: headerOperations(false) });

const route: Schema<readonly HTTPRouteDestination[]> = list(
  object<HTTPRouteDestination>({ destination, weight, headers }, { required: ['destination'] }),
  { rule: checkWeights },
);

const redirect = object<HTTPRedirect>(
  {
    uri: string(),
    authority: string(),
    port,
    derivePort: oneOf('FROM_PROTOCOL_DEFAULT', 'FROM_REQUEST_PORT'),
    scheme: oneOf('http', 'https'),
    redirectCode: integer({ min: 300, max: 399 }),
    prefixRewrite: string(),
  },
  {
    atMostOneOf: [
      ['port', 'derivePort'],
      ['uri', 'prefixRewrite'],
    ],
    rule(value, at) {
      const { uri = '', authority = '', scheme = '', prefixRewrite = '' } = value;
      const nothing = uri === '' && authority === '' && scheme === '' && prefixRewrite === '';
      if (nothing && value.port === undefined && value.derivePort === undefined) {
        at.error('missing_field', 'a redirect must change uri, authority, scheme or port');
      }
    },
  },
);

const directResponse = object<HTTPDirectResponse>(
  {
    status: answerStatus,
    body: object<HTTPBody>(
      {
        string: string({ rule: (text, at) => checkBodySize(Buffer.byteLength(text), at) }),
        bytes: string({
          expected: 'base64',
          test: (text) => /^[A-Za-z0-9+/_-]*={0,2}$/.test(text),
          rule: (text, at) => checkBodySize(Math.floor((text.length * 3) / 4), at),
        }),
      },
      { atMostOneOf: [['string', 'bytes']] },
    ),
  },
  { required: ['status'] },
);

function checkBodySize(bytes: number, at: Checker): void {
  if (bytes > maxBodyBytes)
    at.error('out_of_range', `expected at most ${maxBodyBytes} bytes, found ${bytes}`);
  else if (bytes > largeBodyBytes)
    at.warn('no_effect', 'a large body burdens the control plane: keep it below 100 KB');
}

const rewrite = object<HTTPRewrite>(
  {
    uri: string(),
    authority: string(),
    uriRegexRewrite: object<RegexRewrite>(
      { match: regex, rewrite: string() },
      { required: ['match', 'rewrite'] },
    ),
  },
  {
    atMostOneOf: [['uri', 'uriRegexRewrite']],
    rule(value, at) {
      if ((value.uri ?? '') === '' && (value.authority ?? '') === '' && value.uriRegexRewrite === undefined) {
        at.error('missing_field', 'a rewrite must change uri or authority');
      }
    },
  },
);

const retryConditions: ReadonlySet<string> = new Set([
  '5xx',
  'gateway-error',
  'reset',
  'reset-before-request',
  'connect-failure',
  'retriable-4xx',
  'refused-stream',
  'retriable-status-codes',
  'retriable-headers',
  'envoy-ratelimited',
  'http3-post-connect-failure',
  'cancelled',
  'deadline-exceeded',
  'internal',
  'resource-exhausted',
  'unavailable',
]);

/** `HTTPRetry`. */
export const httpRetry: Schema<HTTPRetry> = object<HTTPRetry>(
  {
    attempts: integer({ min: 0 }),
    perTryTimeout: duration(),
    retryOn: string({
      rule(text, at) {
        if (text === '') return;
        for (const condition of text.split(',').map((part) => part.trim())) {
          if (!retryConditions.has(condition) && !isKnownStatus(condition)) {
            at.mismatch('unknown_value', 'a retry condition of Envoy or a status code', condition);
          }
        }
      },
    }),
    retryRemoteLocalities: boolean,
    retryIgnorePreviousHosts: boolean,
    backoff: duration(),
  },
  {
    rule(value, at) {
      if ((value.attempts ?? 0) > 0) return;
      const { perTryTimeout, retryOn = '', retryRemoteLocalities } = value;
      if (perTryTimeout !== undefined || retryOn !== '' || retryRemoteLocalities !== undefined) {
        at.error('conflict', 'a retry policy is configured while attempts is 0 (disabled)');
      }
    },
  },
);

const delay = object<FaultDelay>(
  {
    percent: integer({ min: 0, max: 100 }),
    fixedDelay: duration(),
    exponentialDelay: duration(),
    percentage: percent,
  },
  {
    atMostOneOf: [['fixedDelay', 'exponentialDelay']],
    rule(value, at) {
      if (value.exponentialDelay !== undefined) {
        at.error('invalid_value', 'exponentialDelay is not supported: use fixedDelay', ['exponentialDelay']);
      } else if (value.fixedDelay === undefined)
        at.warn('no_effect', 'a delay without fixedDelay does nothing');
      if (value.percent !== undefined)
        at.warn('deprecated', 'percent is deprecated: use percentage', ['percent']);
    },
  },
);

const abort = object<FaultAbort>(
  {
    httpStatus: answerStatus,
    grpcStatus: string({
      expected: 'the name of a gRPC code such as "UNAVAILABLE"',
      code: 'unknown_value',
      test: (code) => grpcCodes.includes(code),
    }),
    http2Error: string({
      rule: (_, at) => at.error('invalid_value', 'http2Error is not supported: use httpStatus'),
    }),
    percentage: percent,
  },
  {
    atMostOneOf: [['httpStatus', 'grpcStatus', 'http2Error']],
    rule(value, at) {
      if (value.httpStatus === undefined && value.grpcStatus === undefined) {
        at.warn('no_effect', 'an abort without httpStatus or grpcStatus does nothing');
      }
    },
  },
);

const fault = object<HTTPFaultInjection>(
  { delay, abort },
  {
    rule(value, at) {
      if (value.delay === undefined && value.abort === undefined) {
        at.error('missing_field', 'a fault must have an abort, a delay, or both');
      }
    },
  },
);

const corsMethods = ['GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'CONNECT', 'OPTIONS', 'TRACE', 'PATCH', '*'];
const corsHeader = string({ ...headerRuleOrStar() });

function headerRuleOrStar(): { expected: string; code: 'invalid_header'; test: (name: string) => boolean } {
  return {
    expected: 'a header name, or "*"',
    code: 'invalid_header',
    test: (name) => name === '*' || /^[-_A-Za-z0-9]+$/.test(name),
  };
}

const corsPolicy = object<CorsPolicy>(
  {
    allowOrigin: list(string()),
    allowOrigins: list(stringMatch),
    allowMethods: list(
      string({
        expected: `one of ${corsMethods.join(', ')}`,
        code: 'unknown_value',
        test: (name) => corsMethods.includes(name),
      }),
    ),
    allowHeaders: list(corsHeader),
    exposeHeaders: list(corsHeader),
    maxAge: duration(),
    allowCredentials: boolean,
    unmatchedPreflights: oneOf('UNSPECIFIED', 'FORWARD', 'IGNORE'),
  },
  {
    rule(value, at) {
      if (value.maxAge !== undefined && (parseDurationMs(value.maxAge) ?? 0) % 1000 !== 0) {
        at.mismatch('invalid_duration', 'a duration in whole seconds', value.maxAge, ['maxAge']);
      }
      if (value.allowOrigin !== undefined) {
        at.warn('deprecated', 'allowOrigin is deprecated: use allowOrigins', ['allowOrigin']);
      }
    },
  },
);

const delegate = object<Delegate>(
  {
    name: string({ expected: 'the name of a VirtualService', code: 'invalid_name', test: isObjectName }),
    namespace: string({
      expected: 'a namespace',
      code: 'invalid_name',
      test: (name) => name === '' || isDnsLabel(name),
    }),
  },
  { required: ['name'] },
);

/** `HTTPRoute`. */
export const httpRoute: Schema<HTTPRoute> = object<HTTPRoute>(
  {
    name: string(),
    match: list(httpMatch),
    route,
    redirect,
    directResponse,
    delegate,
    rewrite,
    timeout: duration(),
    retries: httpRetry,
    fault,
    mirror: destination,
    mirrors: list(
      object<HTTPMirrorPolicy>({ destination, percentage: percent }, { required: ['destination'] }),
    ),
    mirrorPercent: integer({ min: 0, max: 100 }),
    mirrorPercentage: percent,
    corsPolicy,
    headers,
  },
  { aliases: { mirror_percent: 'mirrorPercent' }, rule: checkRoute },
);

/** What a rule does, and what cannot stand beside it. */
function checkRoute(value: HTTPRoute, at: Checker): void {
  if (value.delegate !== undefined) {
    for (const field of ['route', 'redirect', 'directResponse'] as const) {
      if (value[field] !== undefined)
        at.error('mutually_exclusive', `${field} cannot stand beside delegate`, [field]);
    }
  } else if (value.redirect !== undefined || value.directResponse !== undefined) {
    const answer = value.redirect === undefined ? 'directResponse' : 'redirect';
    const others = [
      'route',
      'fault',
      'rewrite',
      ...(answer === 'redirect' ? ['directResponse'] : []),
    ] as const;
    for (const field of others) {
      const other = value[field as keyof HTTPRoute];
      if (other === undefined || (Array.isArray(other) && other.length === 0)) continue;
      at.error('mutually_exclusive', `${field} cannot stand beside ${answer}`, [field]);
    }
  } else if ((value.route ?? []).length === 0) {
    at.error('missing_field', 'required: route, redirect, directResponse or delegate', ['route']);
  }
  if (value.mirror !== undefined && (value.mirrors ?? []).length > 0) {
    at.error('mutually_exclusive', 'mirrors cannot stand beside mirror', ['mirrors']);
  }
  if (value.mirrorPercent !== undefined) {
    at.warn('deprecated', 'mirrorPercent is deprecated: use mirrorPercentage', ['mirrorPercent']);
  }
  checkAuthority(value, at);
}

/** The authority can be rewritten in one place only. */
function checkAuthority(value: HTTPRoute, at: Checker): void {
  const places: (readonly string[])[] = [];
  if ((value.rewrite?.authority ?? '') !== '') places.push(['rewrite', 'authority']);
  for (const operation of ['set', 'add'] as const) {
    for (const name of Object.keys(value.headers?.request?.[operation] ?? {})) {
      if ([':authority', 'host'].includes(name.toLowerCase()))
        places.push(['headers', 'request', operation, name]);
    }
  }
  if (places.length > 1)
    at.error('conflict', 'the authority is changed in more than one place', places.at(-1) ?? []);
}
