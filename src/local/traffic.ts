/** Requests at a steady rate, for demonstrations: what a few people with a browser would do. */
import { Agent, get } from 'node:http';

export interface TrafficTarget {
  readonly host: string;
  readonly port: number;
  readonly path: string;
}

/** Requests in flight at most; beyond that a tick is left out, so a stalled mesh is not buried. */
const maxInFlight = 100;

/** One answered request. */
export interface TrafficResult {
  /** 0 when there was no answer. */
  readonly status: number;
  readonly body: string;
}

/** One GET; never rejects. */
export function requestOnce(
  target: TrafficTarget,
  agent: Agent | false,
  timeoutMs = 15_000,
): Promise<TrafficResult> {
  return new Promise((resolve) => {
    const outgoing = get(
      {
        host: target.host,
        port: target.port,
        path: target.path,
        agent,
        timeout: timeoutMs,
        headers: { host: `localhost:${target.port}`, 'user-agent': 'trysail-traffic' },
      },
      (response) => {
        let body = '';
        response.setEncoding('utf8');
        response.on('data', (chunk: string) => (body += chunk));
        response.on('end', () => resolve({ status: response.statusCode ?? 0, body }));
        response.on('error', () => resolve({ status: 0, body: '' }));
      },
    );
    outgoing.on('timeout', () => outgoing.destroy());
    outgoing.on('error', () => resolve({ status: 0, body: '' }));
  });
}

/** Starts a generator; `target` is asked for each request and may be undefined while there is none. */
export function startTraffic(
  requestsPerSecond: number,
  target: () => TrafficTarget | undefined,
  onResult: (result: TrafficResult) => void,
): () => void {
  const agent = new Agent({ keepAlive: true, maxSockets: 20 });
  let inFlight = 0;
  const timer = setInterval(() => {
    const now = target();
    if (now === undefined || inFlight >= maxInFlight) return;
    inFlight++;
    void requestOnce(now, agent).then((result) => {
      inFlight--;
      onResult(result);
    });
  }, 1000 / requestsPerSecond);
  return () => {
    clearInterval(timer);
    agent.destroy();
  };
}
