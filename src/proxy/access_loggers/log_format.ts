/** `envoy.config.core.v3.SubstitutionFormatString` and the older fields of the file logger, compiled to a line. */
import { readFileSync } from 'node:fs';
import type { JsonObject } from '@bufbuild/protobuf';
import type { DataSource } from '#api/gen/envoy/config/core/v3/base_pb.ts';
import type { SubstitutionFormatString } from '#api/gen/envoy/config/core/v3/substitution_format_string_pb.ts';
import {
  type JsonFormat,
  type OperatorTable,
  compileJsonFormat,
  compileTextFormat,
} from '#telemetry/access_log/format.ts';
import type { LogEntry } from './log_entry.ts';
import { byteText } from './operators.ts';

/** Gives one line, with its newline, one character per byte. */
export type LineFormatter = (entry: LogEntry) => string;

/** Envoy's format for loggers without one. */
const defaultFormat =
  '[%START_TIME%] "%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%" %RESPONSE_CODE% %RESPONSE_FLAGS% ' +
  '%BYTES_RECEIVED% %BYTES_SENT% %DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% "%REQ(X-FORWARDED-FOR)%" ' +
  '"%REQ(USER-AGENT)%" "%REQ(X-REQUEST-ID)%" "%REQ(:AUTHORITY)%" "%UPSTREAM_HOST%"\n';

/** Formatters that only add operators which are always there. */
const builtInFormatters: readonly string[] = [
  'envoy.formatter.req_without_query',
  'envoy.formatter.metadata',
];

export function textFormat(
  format: string,
  operators: OperatorTable<LogEntry>,
  omitEmpty = false,
): LineFormatter {
  return compileTextFormat(byteText(format), operators, omitEmpty);
}

export function jsonFormat(
  format: JsonObject,
  operators: OperatorTable<LogEntry>,
  omitEmpty = false,
): LineFormatter {
  return compileJsonFormat(bytesInside(format) as Record<string, JsonFormat>, operators, omitEmpty);
}

/** Keys and literals as bytes. */
function bytesInside(format: JsonFormat): JsonFormat {
  if (typeof format === 'string') return byteText(format);
  if (typeof format !== 'object' || format === null) return format;
  if (Array.isArray(format)) return (format as readonly JsonFormat[]).map(bytesInside);
  return Object.fromEntries(
    Object.entries(format).map(([key, value]) => [byteText(key), bytesInside(value as JsonFormat)]),
  );
}

function readSource(source: DataSource): string {
  const { specifier } = source;
  switch (specifier.case) {
    case 'inlineString':
      return specifier.value;
    case 'inlineBytes':
      return Buffer.from(specifier.value).toString('utf8');
    case 'filename':
      return readFileSync(specifier.value, 'utf8');
    default:
      throw new Error('text_format_source without a supported specifier');
  }
}

/** @throws Error that names the operator or formatter that is not known. */
export function compileLogFormat(
  config: SubstitutionFormatString | undefined,
  operators: OperatorTable<LogEntry>,
): LineFormatter {
  if (config === undefined) return textFormat(defaultFormat, operators);
  for (const { name } of config.formatters)
    if (!builtInFormatters.includes(name)) throw new Error(`formatter ${name} is not supported`);
  const { format, omitEmptyValues } = config;
  switch (format.case) {
    case 'textFormat':
      return textFormat(format.value, operators, omitEmptyValues);
    case 'textFormatSource':
      return textFormat(readSource(format.value), operators, omitEmptyValues);
    case 'jsonFormat':
      return jsonFormat(format.value, operators, omitEmptyValues);
    default:
      throw new Error('log_format without text_format, text_format_source or json_format');
  }
}

export function defaultLogFormat(operators: OperatorTable<LogEntry>): LineFormatter {
  return textFormat(defaultFormat, operators);
}
