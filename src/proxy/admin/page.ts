/** One admin page: a path, what it is for, how it answers. */
import { type Regex, compileRegex } from '../http/regex.ts';
import type { ProxyState } from './proxy_state.ts';

export interface AdminRequest {
  readonly method: string;
  /** Of the URL, and of a form that was posted. */
  readonly query: URLSearchParams;
}

export interface AdminReply {
  readonly status: number;
  readonly contentType: string;
  readonly body: string;
}

/** A parameter of a page, as `/help` lists it. */
export interface AdminParameter {
  readonly name: string;
  readonly help: string;
}

export interface AdminPage {
  readonly path: string;
  readonly help: string;
  /** True for pages that change something: they take POST alone, as in Envoy. */
  readonly changes: boolean;
  readonly parameters?: readonly AdminParameter[];
  answer(state: ProxyState, request: AdminRequest): AdminReply | Promise<AdminReply>;
}

export function text(body: string, status = 200): AdminReply {
  return { status, contentType: 'text/plain; charset=UTF-8', body };
}

export function html(body: string): AdminReply {
  return { status: 200, contentType: 'text/html; charset=UTF-8', body };
}

/** One blank a level, as Envoy prints. */
export function json(value: unknown): AdminReply {
  return { status: 200, contentType: 'application/json', body: `${JSON.stringify(value, undefined, 1)}\n` };
}

export function compactJson(value: unknown): AdminReply {
  return { status: 200, contentType: 'application/json', body: JSON.stringify(value) };
}

/** The regular expression of a parameter, or undefined without it; the message when it is bad. */
export function regexParameter(query: URLSearchParams, name: string): Regex | undefined | { bad: string } {
  const pattern = query.get(name);
  if (pattern === null) return undefined;
  try {
    return compileRegex(pattern);
  } catch (error) {
    return { bad: (error as Error).message };
  }
}
