/** Formats of the bodies of local replies: an access-log format that knows `%LOCAL_REPLY_BODY%` besides. */
import type { SubstitutionFormatString } from '#api/gen/envoy/config/core/v3/substitution_format_string_pb.ts';
import type { Evaluator, OperatorTable } from '#telemetry/access_log/format.ts';
import type { ReplyBodyFormat } from '../http/local_reply.ts';
import type { LogEntry } from './log_entry.ts';
import { compileLogFormat } from './log_format.ts';
import { byteText } from './operators.ts';

const replyBody: Evaluator<LogEntry> = Object.assign((entry: LogEntry) => entry.replyBody, {
  keepsEmpty: true,
});

/** @throws Error that names the operator or formatter that is not known. */
export function compileReplyBody(
  config: SubstitutionFormatString,
  operators: OperatorTable<LogEntry>,
): ReplyBodyFormat {
  const format = compileLogFormat(config, {
    ...operators,
    LOCAL_REPLY_BODY: () => replyBody,
  });
  const json = config.format.case === 'jsonFormat';
  return {
    contentType: config.contentType !== '' ? config.contentType : json ? 'application/json' : 'text/plain',
    format: (info, request, response, body) =>
      Buffer.from(
        format({ info, request, response, trailers: undefined, replyBody: byteText(body) }),
        'latin1',
      ).toString('utf8'),
  };
}
