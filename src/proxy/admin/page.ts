/** One admin page: a path, what it is for, how it answers. */
import type { ProxyState } from './proxy_state.ts';

export interface AdminRequest {
  readonly method: string;
  readonly query: URLSearchParams;
}

export interface AdminReply {
  readonly status: number;
  readonly contentType: string;
  readonly body: string;
}

export interface AdminPage {
  readonly path: string;
  readonly help: string;
  /** True for pages that change something: they take POST alone, as in Envoy. */
  readonly changes: boolean;
  answer(state: ProxyState, request: AdminRequest): AdminReply | Promise<AdminReply>;
}

export function text(body: string, status = 200): AdminReply {
  return { status, contentType: 'text/plain; charset=UTF-8', body };
}

/** Two blanks a level, as Envoy prints. */
export function json(value: unknown): AdminReply {
  return { status: 200, contentType: 'application/json', body: `${JSON.stringify(value, undefined, 1)}\n` };
}
