/** `*_headers_to_add` and `*_headers_to_remove` of routes, compiled once (envoy Router::HeaderParser). */
import {
  type HeaderValueOption,
  HeaderValueOption_HeaderAppendAction as Action,
} from '#api/gen/envoy/config/core/v3/base_pb.ts';
import { compileHeaderFormat, type HeaderFormatContext, type HeaderFormatter } from './header_formatter.ts';
import type { HeaderMap } from './header_map.ts';

interface Addition {
  readonly name: string;
  readonly value: string | HeaderFormatter;
  readonly action: number;
  readonly keepEmpty: boolean;
}

/** Applied in order: removals, then additions. */
export interface HeaderRules {
  apply(headers: HeaderMap, context: HeaderFormatContext): void;
}

function compileAddition(option: HeaderValueOption): Addition {
  const { header } = option;
  if (header === undefined || header.key === '') throw new Error('header to add without a name');
  const lower = header.key.toLowerCase();
  const text = header.rawValue.length > 0 ? Buffer.from(header.rawValue).toString('latin1') : header.value;
  let action: number = option.appendAction;
  // The deprecated field wins when it is there.
  if (option.append !== undefined)
    action = option.append ? Action.APPEND_IF_EXISTS_OR_ADD : Action.OVERWRITE_IF_EXISTS_OR_ADD;
  return {
    name: lower === 'host' ? ':authority' : lower,
    value: compileHeaderFormat(text),
    action,
    keepEmpty: option.keepEmptyValue,
  };
}

function add(headers: HeaderMap, addition: Addition, context: HeaderFormatContext): void {
  const { name, value } = addition;
  const text = typeof value === 'string' ? value : value(context);
  if (text === '' && !addition.keepEmpty) return;
  switch (addition.action) {
    case Action.ADD_IF_ABSENT:
      if (!headers.has(name)) headers.set(name, text);
      return;
    case Action.OVERWRITE_IF_EXISTS:
      if (headers.has(name)) headers.set(name, text);
      return;
    case Action.OVERWRITE_IF_EXISTS_OR_ADD:
      headers.set(name, text);
      return;
    default:
      if (name.startsWith(':')) headers.set(name, text);
      else headers.add(name, text);
  }
}

/** Undefined when there is nothing to do. Throws Error for a bad name or value. */
export function compileHeaderRules(
  toAdd: readonly HeaderValueOption[],
  toRemove: readonly string[],
): HeaderRules | undefined {
  if (toAdd.length === 0 && toRemove.length === 0) return undefined;
  const additions = toAdd.map(compileAddition);
  const removals = toRemove.map((name) => {
    const lower = name.toLowerCase();
    if (lower.startsWith(':') || lower === 'host') throw new Error(`${name} cannot be removed`);
    return lower;
  });
  return {
    apply(headers, context) {
      for (const name of removals) headers.remove(name);
      for (const addition of additions) add(headers, addition, context);
    },
  };
}
