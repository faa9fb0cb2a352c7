/** What rules of RBAC are asked about: one request, or one connection (envoy.config.rbac.v3). */
import type { HeaderMap } from '../../http/header_map.ts';
import type { ConnectionInfo } from '../../network/connection.ts';
import type { FilterCallbacks } from '../../http/filter.ts';
import type { StreamInfo } from '../../stream_info/stream_info.ts';

/** One question. Filled anew for each; matchers keep nothing of it. */
export interface RbacSubject {
  connection: ConnectionInfo;
  /** Empty on a connection: header matchers see nothing there. */
  headers: HeaderMap;
  /** Path of the request with its query; undefined on a connection. */
  path: string | undefined;
  /** Undefined on a connection. */
  streamInfo: StreamInfo | undefined;
  /** Asked for the route, by rules on its metadata. Undefined on a connection. */
  callbacks: Pick<FilterCallbacks, 'route'> | undefined;
}

/** A compiled permission, principal or policy. */
export type RbacMatcher = (subject: RbacSubject) => boolean;

/** A configuration that cannot be run: `where` is its place below the filter's configuration. */
export class RbacConfigError extends Error {
  constructor(where: string, what: string) {
    super(`${where}: ${what}`);
  }
}

/** Runs a compile step, naming the place of what it refuses. */
export function compileAt<T>(where: string, compile: () => T): T {
  try {
    return compile();
  } catch (error) {
    if (error instanceof RbacConfigError) throw error;
    throw new RbacConfigError(where, error instanceof Error ? error.message : String(error));
  }
}

/** All of a list; true when it is empty. */
export function allOf(matchers: readonly RbacMatcher[]): RbacMatcher {
  const [only] = matchers;
  if (matchers.length === 1 && only !== undefined) return only;
  return (subject) => {
    for (let i = 0; i < matchers.length; i++) if (!(matchers[i] as RbacMatcher)(subject)) return false;
    return true;
  };
}

/** One of a list; false when it is empty. */
export function anyOf(matchers: readonly RbacMatcher[]): RbacMatcher {
  const [only] = matchers;
  if (matchers.length === 1 && only !== undefined) return only;
  return (subject) => {
    for (let i = 0; i < matchers.length; i++) if ((matchers[i] as RbacMatcher)(subject)) return true;
    return false;
  };
}

/** The opposite. */
export function notOf(matcher: RbacMatcher): RbacMatcher {
  return (subject) => !matcher(subject);
}
