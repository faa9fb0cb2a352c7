/** What rules of RBAC are asked about: one request, or one connection (envoy.config.rbac.v3). */
import type { RequestHeaderMap } from '../../../http/header_map.ts';
import type { ConnectionInfo } from '../../../network/connection.ts';
import type { StreamInfo } from '../../../stream_info/stream_info.ts';

/** One question. A connection has no headers and no StreamInfo. */
export interface RbacSubject {
  readonly connection: ConnectionInfo;
  readonly headers: RequestHeaderMap | undefined;
  readonly streamInfo: StreamInfo | undefined;
}

/** A compiled permission, principal or policy. */
export type RbacMatcher = (subject: RbacSubject) => boolean;
