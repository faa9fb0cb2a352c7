/** Access logs of a workload: MeshConfig.accessLogFile, or what Telemetry objects choose. */
import { create, type JsonObject } from '@bufbuild/protobuf';
import {
  type AccessLog,
  type AccessLogFilter,
  AccessLogFilterSchema,
  AccessLogSchema,
} from '#api/gen/envoy/config/accesslog/v3/accesslog_pb.ts';
import type { SubstitutionFormatString } from '#api/gen/envoy/config/core/v3/substitution_format_string_pb.ts';
import { SubstitutionFormatStringSchema } from '#api/gen/envoy/config/core/v3/substitution_format_string_pb.ts';
import { FileAccessLogSchema } from '#api/gen/envoy/extensions/access_loggers/file/v3/file_pb.ts';
import { ExpressionFilterSchema } from '#api/gen/envoy/extensions/access_loggers/filters/cel/v3/cel_pb.ts';
import { accessLogger } from '#api/well_known.ts';
import type { EnvoyFileAccessLogProvider } from '#config/mesh_config/extension_provider.ts';
import type { Labels } from '../model/labels.ts';
import type { MeshIndex } from '../model/mesh_index.ts';
import { memoize, type PushContext } from '../model/push_context.ts';
import { accessLogChoices, type TelemetryMode } from '../model/telemetry_index.ts';
import { any } from './wire.ts';

/** Istio's default text format: 24 operators in 22 fields. */
export const defaultTextFormat =
  '[%START_TIME%] "%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%" %RESPONSE_CODE% ' +
  '%RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% %CONNECTION_TERMINATION_DETAILS% ' +
  '"%UPSTREAM_TRANSPORT_FAILURE_REASON%" %BYTES_RECEIVED% %BYTES_SENT% %DURATION% ' +
  '%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% "%REQ(X-FORWARDED-FOR)%" "%REQ(USER-AGENT)%" ' +
  '"%REQ(X-REQUEST-ID)%" "%REQ(:AUTHORITY)%" "%UPSTREAM_HOST%" %UPSTREAM_CLUSTER_RAW% ' +
  '%UPSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_REMOTE_ADDRESS% ' +
  '%REQUESTED_SERVER_NAME% %ROUTE_NAME%\n';

/** Istio's default JSON keys: the same fields by name. */
export const defaultJsonFormat: JsonObject = {
  start_time: '%START_TIME%',
  route_name: '%ROUTE_NAME%',
  method: '%REQ(:METHOD)%',
  path: '%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%',
  protocol: '%PROTOCOL%',
  response_code: '%RESPONSE_CODE%',
  response_flags: '%RESPONSE_FLAGS%',
  response_code_details: '%RESPONSE_CODE_DETAILS%',
  connection_termination_details: '%CONNECTION_TERMINATION_DETAILS%',
  bytes_received: '%BYTES_RECEIVED%',
  bytes_sent: '%BYTES_SENT%',
  duration: '%DURATION%',
  upstream_service_time: '%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)%',
  x_forwarded_for: '%REQ(X-FORWARDED-FOR)%',
  user_agent: '%REQ(USER-AGENT)%',
  request_id: '%REQ(X-REQUEST-ID)%',
  authority: '%REQ(:AUTHORITY)%',
  upstream_host: '%UPSTREAM_HOST%',
  upstream_cluster: '%UPSTREAM_CLUSTER_RAW%',
  upstream_local_address: '%UPSTREAM_LOCAL_ADDRESS%',
  downstream_local_address: '%DOWNSTREAM_LOCAL_ADDRESS%',
  downstream_remote_address: '%DOWNSTREAM_REMOTE_ADDRESS%',
  requested_server_name: '%REQUESTED_SERVER_NAME%',
  upstream_transport_failure_reason: '%UPSTREAM_TRANSPORT_FAILURE_REASON%',
};

/** Provider that Istio always has: the log that MeshConfig describes, to standard output unless it names a file. */
const meshProvider = 'envoy';
const standardOutput = '/dev/stdout';

function textFormat(text: string): SubstitutionFormatString {
  return create(SubstitutionFormatStringSchema, {
    format: { case: 'textFormatSource', value: { specifier: { case: 'inlineString', value: text } } },
  });
}

function jsonFormat(fields: JsonObject): SubstitutionFormatString {
  return create(SubstitutionFormatStringSchema, { format: { case: 'jsonFormat', value: fields } });
}

/** Each entry is one line; a format that the user wrote often lacks the end of it. */
function withNewline(format: string): string {
  return format.endsWith('\n') ? format : `${format}\n`;
}

function parseFields(text: string): JsonObject | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null && !Array.isArray(value)
      ? (value as JsonObject)
      : undefined;
  } catch {
    return undefined;
  }
}

function fileLog(
  path: string,
  logFormat: SubstitutionFormatString,
  filter: AccessLogFilter | undefined,
): AccessLog {
  return create(AccessLogSchema, {
    name: accessLogger.file,
    ...(filter === undefined ? {} : { filter }),
    configType: {
      case: 'typedConfig',
      value: any(FileAccessLogSchema, { path, accessLogFormat: { case: 'logFormat', value: logFormat } }),
    },
  });
}

/** Path and format that MeshConfig describes. */
function meshLog(mesh: MeshIndex, filter: AccessLogFilter | undefined): AccessLog {
  const { accessLogFile, accessLogFormat = '', accessLogEncoding } = mesh.config;
  const path = accessLogFile === undefined || accessLogFile === '' ? standardOutput : accessLogFile;
  if (accessLogEncoding === 'JSON') {
    const fields = accessLogFormat === '' ? defaultJsonFormat : parseFields(accessLogFormat);
    return fileLog(path, jsonFormat(fields ?? defaultJsonFormat), filter);
  }
  const text = accessLogFormat === '' ? defaultTextFormat : withNewline(accessLogFormat);
  return fileLog(path, textFormat(text), filter);
}

function providerLog(provider: EnvoyFileAccessLogProvider, filter: AccessLogFilter | undefined): AccessLog {
  const { logFormat, path = standardOutput } = provider;
  const { labels } = logFormat ?? {};
  const format =
    labels !== undefined
      ? jsonFormat(Object.keys(labels).length === 0 ? defaultJsonFormat : (labels as JsonObject))
      : textFormat(logFormat?.text === undefined ? defaultTextFormat : withNewline(logFormat.text));
  if (provider.omitEmptyValues === true) format.omitEmptyValues = true;
  return fileLog(path, format, filter);
}

function celFilter(expression: string): AccessLogFilter | undefined {
  if (expression === '') return undefined;
  return create(AccessLogFilterSchema, {
    filterSpecifier: {
      case: 'extensionFilter',
      value: {
        name: 'envoy.access_loggers.extension_filters.cel',
        configType: { case: 'typedConfig', value: any(ExpressionFilterSchema, { expression }) },
      },
    },
  });
}

/** Access logs of the requests and connections of a workload. Providers of other kinds than files are left out. */
export function accessLogs(
  push: PushContext,
  namespace: string,
  labels: Labels,
  mode: TelemetryMode,
): readonly AccessLog[] {
  const { mesh } = push;
  const choices = accessLogChoices(push.telemetries, mesh, namespace, labels, mode);
  if (choices === undefined) {
    const { accessLogFile } = mesh.config;
    if (accessLogFile === undefined || accessLogFile === '') return [];
    return memoize(push, 'mesh access log', () => [meshLog(mesh, undefined)]);
  }
  return choices.flatMap(({ provider, filter }) => {
    const found = mesh.config.extensionProviders?.find(({ name }) => name === provider);
    if (found === undefined) return provider === meshProvider ? meshLog(mesh, celFilter(filter)) : [];
    const file = found.envoyFileAccessLog;
    if (file === undefined) return [];
    // The mesh's own provider takes its format from MeshConfig when it spells none out.
    const plain = provider === meshProvider && file.logFormat === undefined;
    return plain ? meshLog(mesh, celFilter(filter)) : providerLog(file, celFilter(filter));
  });
}

/** The same logs at the listener, only for connections that no filter chain took (flag NR): no other log sees them. */
export function listenerAccessLogs(push: PushContext, logs: readonly AccessLog[]): AccessLog[] {
  if (push.mesh.config.disableEnvoyListenerLog === true) return [];
  return logs.map((log) =>
    create(AccessLogSchema, {
      name: log.name,
      configType: log.configType,
      filter: { filterSpecifier: { case: 'responseFlagFilter', value: { flags: ['NR'] } } },
    }),
  );
}
