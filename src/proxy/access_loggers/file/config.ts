/** envoy.access_loggers.file: lines into a file, or the standard streams by their paths. */
import { fromBinary } from '@bufbuild/protobuf';
import {
  type FileAccessLog,
  FileAccessLogSchema,
} from '#api/gen/envoy/extensions/access_loggers/file/v3/file_pb.ts';
import { accessLogger } from '#api/well_known.ts';
import type { AccessLogContext, AccessLoggerExtension } from '../access_log.ts';
import {
  type LineFormatter,
  compileLogFormat,
  defaultLogFormat,
  jsonFormat,
  textFormat,
} from '../log_format.ts';

function formatterOf({ accessLogFormat: format }: FileAccessLog, context: AccessLogContext): LineFormatter {
  const { operators } = context;
  switch (format.case) {
    case 'format':
      return format.value === '' ? defaultLogFormat(operators) : textFormat(format.value, operators);
    case 'jsonFormat':
    case 'typedJsonFormat':
      return jsonFormat(format.value, operators);
    case 'logFormat':
      return compileLogFormat(format.value, operators);
    default:
      return defaultLogFormat(operators);
  }
}

export const fileAccessLogger = {
  name: accessLogger.file,
  typeUrls: ['type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog'],
  create({ value }, context) {
    const config = fromBinary(FileAccessLogSchema, value);
    if (config.path === '') throw new Error('path is empty');
    const format = formatterOf(config, context);
    const sink = context.sinks.open(config.path);
    return (entry) => sink.write(format(entry));
  },
} satisfies AccessLoggerExtension;
