/** envoy.access_loggers.stdout and envoy.access_loggers.stderr. */
import { fromBinary } from '@bufbuild/protobuf';
import {
  StderrAccessLogSchema,
  StdoutAccessLogSchema,
} from '#api/gen/envoy/extensions/access_loggers/stream/v3/stream_pb.ts';
import { accessLogger } from '#api/well_known.ts';
import type { AccessLogContext, AccessLoggerExtension, EntryLogger } from '../access_log.ts';
import { type LineFormatter, compileLogFormat } from '../log_format.ts';

function create(format: LineFormatter, path: string, context: AccessLogContext): EntryLogger {
  const sink = context.sinks.open(path);
  return (entry) => sink.write(format(entry));
}

export const stdoutAccessLogger = {
  name: accessLogger.stdout,
  typeUrls: ['type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog'],
  create({ value }, context) {
    const format = compileLogFormat(
      fromBinary(StdoutAccessLogSchema, value).accessLogFormat.value,
      context.operators,
    );
    return create(format, '/dev/stdout', context);
  },
} satisfies AccessLoggerExtension;

export const stderrAccessLogger = {
  name: accessLogger.stderr,
  typeUrls: ['type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StderrAccessLog'],
  create({ value }, context) {
    const format = compileLogFormat(
      fromBinary(StderrAccessLogSchema, value).accessLogFormat.value,
      context.operators,
    );
    return create(format, '/dev/stderr', context);
  },
} satisfies AccessLoggerExtension;
