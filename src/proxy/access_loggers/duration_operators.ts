/** Times between two moments of a request, in whole milliseconds; absent while one of the moments has not come. */
import type { Evaluator, OperatorTable } from '#telemetry/access_log/format.ts';
import type { StreamInfo } from '../stream_info/stream_info.ts';
import type { LogEntry } from './log_entry.ts';

/** Milliseconds of the process's clock; NaN when it has not come. */
type Moment = (info: StreamInfo) => number;

const start: Moment = (info) => info.start;
const end: Moment = (info) => info.end;
const requestEnd: Moment = (info) => info.lastDownstreamByteReceived;
const upstreamSentEnd: Moment = (info) => info.upstream?.lastByteSentMs ?? NaN;
const upstreamReceived: Moment = (info) => info.upstream?.firstByteReceivedMs ?? NaN;
const responseEnd: Moment = (info) => info.lastDownstreamByteSent;

/** Moments of `%COMMON_DURATION(START:END:PRECISION)%`. */
const moments: Readonly<Record<string, Moment>> = {
  DS_RX_BEG: start,
  DS_RX_END: requestEnd,
  US_TX_BEG: (info) => info.upstream?.firstByteSentMs ?? NaN,
  US_TX_END: upstreamSentEnd,
  US_RX_BEG: upstreamReceived,
  US_RX_END: (info) => info.upstream?.lastByteReceivedMs ?? NaN,
  DS_TX_BEG: (info) => info.firstDownstreamByteSent,
  DS_TX_END: responseEnd,
};

const precisions: Readonly<Record<string, number>> = { ms: 1, us: 1e3, ns: 1e6 };

function between(from: Moment, to: Moment, perMs = 1): Evaluator<LogEntry> {
  return ({ info }) => {
    const time = (to(info) - from(info)) * perMs;
    return Number.isNaN(time) ? undefined : Math.max(0, Math.floor(time));
  };
}

function commonDuration(argument: string | undefined): Evaluator<LogEntry> {
  const [from = '', to = '', precision = '', ...rest] = (argument ?? '').split(':');
  const first = moments[from];
  const last = moments[to];
  const perMs = precisions[precision];
  if (first === undefined || last === undefined || perMs === undefined || rest.length > 0)
    throw new Error(
      `expected START:END:PRECISION with moments of ${Object.keys(moments).join(' ')} and ms, us or ns`,
    );
  return between(first, last, perMs);
}

export const durationOperators: OperatorTable<LogEntry> = {
  DURATION: () => between(start, end),
  REQUEST_DURATION: () => between(start, requestEnd),
  REQUEST_TX_DURATION: () => between(start, upstreamSentEnd),
  RESPONSE_DURATION: () => between(start, upstreamReceived),
  RESPONSE_TX_DURATION: () => between(upstreamReceived, responseEnd),
  COMMON_DURATION: commonDuration,
};
