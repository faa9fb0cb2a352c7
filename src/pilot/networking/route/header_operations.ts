/** Header changes of VirtualServices. */
import { create } from '@bufbuild/protobuf';
import {
  type HeaderValueOption,
  HeaderValueOption_HeaderAppendAction,
  HeaderValueOptionSchema,
} from '#api/gen/envoy/config/core/v3/base_pb.ts';
import type { Headers } from '#config/kinds/virtual_service/types.ts';

/** The fields that virtual hosts, routes and weighted clusters have in common. */
export interface HeaderFields {
  requestHeadersToAdd: HeaderValueOption[];
  requestHeadersToRemove: string[];
  responseHeadersToAdd: HeaderValueOption[];
  responseHeadersToRemove: string[];
}

function options(
  values: Readonly<Record<string, string>> | undefined,
  appendAction: HeaderValueOption_HeaderAppendAction,
): HeaderValueOption[] {
  return Object.entries(values ?? {})
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .filter(([key]) => !isAuthority(key))
    .map(([key, value]) => create(HeaderValueOptionSchema, { header: { key, value }, appendAction }));
}

/** Envoy refuses changes of the host header here; it becomes a rewrite of the authority. */
function isAuthority(key: string): boolean {
  const name = key.toLowerCase();
  return name === ':authority' || name === 'host';
}

/** The new host that request.set asks for; undefined when it does not. */
export function authorityOf(headers: Headers | undefined): string | undefined {
  for (const [key, value] of Object.entries(headers?.request?.set ?? {})) if (isAuthority(key)) return value;
  return undefined;
}

/** The changes as Envoy's fields. */
export function headerFields(headers: Headers | undefined): HeaderFields {
  const { APPEND_IF_EXISTS_OR_ADD, OVERWRITE_IF_EXISTS_OR_ADD } = HeaderValueOption_HeaderAppendAction;
  return {
    requestHeadersToAdd: [
      ...options(headers?.request?.add, APPEND_IF_EXISTS_OR_ADD),
      ...options(headers?.request?.set, OVERWRITE_IF_EXISTS_OR_ADD),
    ],
    requestHeadersToRemove: [...(headers?.request?.remove ?? [])],
    responseHeadersToAdd: [
      ...options(headers?.response?.add, APPEND_IF_EXISTS_OR_ADD),
      ...options(headers?.response?.set, OVERWRITE_IF_EXISTS_OR_ADD),
    ],
    responseHeadersToRemove: [...(headers?.response?.remove ?? [])],
  };
}
