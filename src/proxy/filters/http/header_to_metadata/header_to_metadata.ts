/** `envoy.filters.http.header_to_metadata`: puts values of headers and cookies into dynamic metadata. */
import { fromBinary } from '@bufbuild/protobuf';
import {
  type Config,
  type Config_KeyValuePair,
  type Config_Rule,
  Config_ValueEncode as ValueEncode,
  Config_ValueType as ValueType,
  ConfigSchema,
} from '#api/gen/envoy/extensions/filters/http/header_to_metadata/v3/header_to_metadata_pb.ts';
import { typeUrlOf } from '#api/type_urls.ts';
import type { HttpFilterExtension } from '../../../factory_context.ts';
import { type FilterCallbacks, FilterStatus, type HttpFilter } from '../../../http/filter.ts';
import type { HeaderMap, RequestHeaderMap, ResponseHeaderMap } from '../../../http/header_map.ts';
import { compileSubstitution } from '../../../http/regex.ts';
import { cookieValue } from '../../../router/route_match.ts';
import type { StreamInfo } from '../../../stream_info/stream_info.ts';

const filterName = 'envoy.filters.http.header_to_metadata';

/** Longer values are left out, bytes (Envoy's bound). */
const maxValueBytes = 8 * 1024;

/** Gives what is stored for the text of a header; undefined when nothing is. */
type Store = (info: StreamInfo, text: string) => void;

interface Rule {
  /** Reads and, when told so, removes the value. */
  readonly read: (headers: HeaderMap) => string | undefined;
  readonly present: Store | undefined;
  readonly missing: Store | undefined;
}

interface Rules {
  readonly request: readonly Rule[];
  readonly response: readonly Rule[];
}

function compileStore(pair: Config_KeyValuePair, forMissing: boolean): Store {
  const { metadataNamespace, key, value: fixed, regexValueRewrite, type, encode } = pair;
  if (key === '') throw new Error('key is missing');
  if (type === ValueType.PROTOBUF_VALUE) throw new Error('type PROTOBUF_VALUE is not implemented');
  if (forMissing && fixed === '') throw new Error('on_header_missing.value is missing');
  if (fixed !== '' && regexValueRewrite !== undefined)
    throw new Error('value and regex_value_rewrite exclude each other');
  const rewrite = regexValueRewrite === undefined ? undefined : compileSubstitution(regexValueRewrite);
  const space = metadataNamespace === '' ? filterName : metadataNamespace;
  return (info, text) => {
    let value = fixed !== '' ? fixed : rewrite === undefined ? text : rewrite(text);
    if (value === '' || value.length > maxValueBytes) return;
    if (encode === ValueEncode.BASE64) value = Buffer.from(value, 'base64').toString('utf8');
    if (type !== ValueType.NUMBER) {
      info.setDynamicMetadata(space, { [key]: value });
      return;
    }
    const number = Number(value);
    if (!Number.isNaN(number)) info.setDynamicMetadata(space, { [key]: number });
  };
}

function compileRule(rule: Config_Rule, ofRequest: boolean): Rule {
  const { header, cookie, onHeaderPresent, onHeaderMissing, remove } = rule;
  if ((header === '') === (cookie === '')) throw new Error('one of header and cookie must be set');
  if (onHeaderPresent === undefined && onHeaderMissing === undefined)
    throw new Error('on_header_present and on_header_missing are both missing');
  if (cookie !== '' && (remove || !ofRequest))
    throw new Error('cookies are read from requests and not removed');
  const name = header.toLowerCase();
  return {
    read: (headers) => {
      if (cookie !== '') return cookieValue(headers as RequestHeaderMap, cookie);
      const value = headers.get(name);
      if (remove && value !== undefined) headers.remove(name);
      return value;
    },
    present: onHeaderPresent === undefined ? undefined : compileStore(onHeaderPresent, false),
    missing: onHeaderMissing === undefined ? undefined : compileStore(onHeaderMissing, true),
  };
}

/** @throws Error that names the rule which is bad. */
export function compileHeaderToMetadata(proto: Config): Rules {
  const compile = (rules: readonly Config_Rule[], name: string, ofRequest: boolean): Rule[] =>
    rules.map((rule, i) => {
      try {
        return compileRule(rule, ofRequest);
      } catch (cause) {
        throw new Error(`${name}[${i}]: ${(cause as Error).message}`, { cause });
      }
    });
  return {
    request: compile(proto.requestRules, 'request_rules', true),
    response: compile(proto.responseRules, 'response_rules', false),
  };
}

function apply(rules: readonly Rule[], headers: HeaderMap, info: StreamInfo): void {
  for (const { read, present, missing } of rules) {
    const value = read(headers);
    if (value !== undefined) present?.(info, value);
    else missing?.(info, '');
  }
}

class HeaderToMetadataFilter implements HttpFilter {
  readonly #callbacks: FilterCallbacks;
  readonly #own: Rules;
  readonly #name: string;

  constructor(callbacks: FilterCallbacks, own: Rules, name: string) {
    this.#callbacks = callbacks;
    this.#own = own;
    this.#name = name;
  }

  #rules(): Rules {
    return (this.#callbacks.route()?.perFilterConfig(this.#name) as Rules | undefined) ?? this.#own;
  }

  decodeHeaders(headers: RequestHeaderMap): FilterStatus {
    apply(this.#rules().request, headers, this.#callbacks.streamInfo);
    return FilterStatus.continue;
  }

  encodeHeaders(headers: ResponseHeaderMap): FilterStatus {
    apply(this.#rules().response, headers, this.#callbacks.streamInfo);
    return FilterStatus.continue;
  }
}

export const headerToMetadata = {
  name: filterName,
  typeUrls: [typeUrlOf(ConfigSchema)],
  create(config, _context, name) {
    const rules = compileHeaderToMetadata(fromBinary(ConfigSchema, config.value));
    return { createFilter: (callbacks) => new HeaderToMetadataFilter(callbacks, rules, name) };
  },
  createRouteConfig: (config) => compileHeaderToMetadata(fromBinary(ConfigSchema, config.value)),
} as const satisfies HttpFilterExtension;
