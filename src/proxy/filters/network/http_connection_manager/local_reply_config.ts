/** `LocalReplyConfig`: other status, body and headers for replies that the proxy makes itself. */
import type {
  LocalReplyConfig,
  ResponseMapper,
} from '#api/gen/envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager_pb.ts';
import type { LogPredicate } from '../../../access_loggers/log_entry.ts';
import { compileLogFilter } from '../../../access_loggers/log_filter.ts';
import type { FactoryContext } from '../../../factory_context.ts';
import type { LocalReply } from '../../../http/filter.ts';
import type { RequestHeaderMap } from '../../../http/header_map.ts';
import { compileHeaderRules, type HeaderRules } from '../../../http/header_rules.ts';
import { localReplyHeaders, type ReplyBodyFormat } from '../../../http/local_reply.ts';
import { readDataSource } from '../../../network/data_source.ts';
import type { StreamInfo } from '../../../stream_info/stream_info.ts';

/** Gives the reply that goes out in place of another. */
export type LocalReplyMapper = (
  reply: LocalReply,
  info: StreamInfo,
  request: RequestHeaderMap | undefined,
) => LocalReply;

interface Mapper {
  readonly matches: LogPredicate;
  /** Undefined leaves what the reply has. */
  readonly status: number | undefined;
  readonly body: string | undefined;
  readonly format: ReplyBodyFormat | undefined;
  readonly rules: HeaderRules | undefined;
}

function compileMapper(proto: ResponseMapper, context: FactoryContext): Mapper {
  if (proto.filter === undefined) throw new Error('filter is missing');
  const { statusCode, bodyFormatOverride: override } = proto;
  if (statusCode !== undefined && (statusCode < 200 || statusCode > 599))
    throw new Error('status_code must be 200 to 599');
  return {
    matches: compileLogFilter(proto.filter),
    status: statusCode,
    body: proto.body === undefined ? undefined : readDataSource(proto.body),
    format: override === undefined ? undefined : context.replyBody?.(override),
    rules: compileHeaderRules(proto.headersToAdd, []),
  };
}

/** The first mapper whose filter matches counts; then the body is formatted. @throws Error that names the field. */
export function compileLocalReplyConfig(
  proto: LocalReplyConfig | undefined,
  context: FactoryContext,
): LocalReplyMapper | undefined {
  if (proto === undefined) return undefined;
  const mappers = proto.mappers.map((mapper, i) => {
    try {
      return compileMapper(mapper, context);
    } catch (error) {
      throw new Error(`local_reply_config: mappers[${i}]: ${(error as Error).message}`, { cause: error });
    }
  });
  const common = proto.bodyFormat === undefined ? undefined : context.replyBody?.(proto.bodyFormat);
  if (mappers.length === 0 && common === undefined) return undefined;
  return (reply, info, request) => {
    const response = localReplyHeaders(reply, false);
    reply.modifyHeaders?.(response);
    // Filters ask for the status and the flags of the reply as it is.
    info.responseCode = reply.status;
    info.responseFlags |= reply.flags;
    info.responseCodeDetails = reply.details;
    const entry = { info, request, response, trailers: undefined };
    const mapper = mappers.find(({ matches }) => matches(entry));
    const status = mapper?.status ?? reply.status;
    const before = response.getFirst('content-type');
    mapper?.rules?.apply(response, { info, request, response });
    const typed = response.getFirst('content-type') !== before;
    info.responseCode = status;
    response.status = status;
    let body = mapper?.body ?? reply.body;
    const format = mapper?.format ?? common;
    if (format !== undefined) body = format.format(info, request, response, body);
    const changed = body !== reply.body;
    return {
      ...reply,
      status,
      body,
      modifyHeaders(headers) {
        reply.modifyHeaders?.(headers);
        // Values of headers name the status that was mapped, bodies the new one.
        info.responseCode = reply.status;
        mapper?.rules?.apply(headers, { info, request, response: headers });
        info.responseCode = status;
        if (body !== '' && changed && !typed)
          headers.set('content-type', format?.contentType ?? 'text/plain');
      },
    };
  };
}
