/** Small pieces of protobuf that all generators write. */
import { create, type DescMessage, type JsonObject, type MessageInitShape } from '@bufbuild/protobuf';
import { type Any, anyPack, type Duration, DurationSchema } from '@bufbuild/protobuf/wkt';
import {
  type ConfigSource,
  ApiVersion,
  ConfigSourceSchema,
} from '#api/gen/envoy/config/core/v3/config_source_pb.ts';
import { type StringMatcher, StringMatcherSchema } from '#api/gen/envoy/type/matcher/v3/string_pb.ts';
import { TypedStructSchema } from '#api/gen/xds/type/v3/typed_struct_pb.ts';
import { parseDurationMs } from '#config/schema/duration.ts';

/** A message packed into an Any. */
export function any<Desc extends DescMessage>(schema: Desc, init?: MessageInitShape<Desc>): Any {
  return anyPack(schema, create(schema, init));
}

/** Configuration of an extension that stock Envoy has no schema for. */
export function typedStruct(typeUrl: string, value: JsonObject): Any {
  return any(TypedStructSchema, { typeUrl, value });
}

/** A duration in milliseconds. */
export function durationOf(ms: number): Duration {
  const seconds = Math.floor(ms / 1000);
  return create(DurationSchema, {
    seconds: BigInt(seconds),
    nanos: Math.round((ms - seconds * 1000) * 1_000_000),
  });
}

/** A duration as configuration writes it; undefined when absent (what is in the store has been validated). */
export function parseDuration(text: string | undefined): Duration | undefined {
  const ms = text === undefined ? undefined : parseDurationMs(text);
  return ms === undefined ? undefined : durationOf(ms);
}

/** Resources come over the ADS stream; nothing waits for them with a time limit. */
export function adsSource(): ConfigSource {
  return create(ConfigSourceSchema, {
    configSourceSpecifier: { case: 'ads', value: {} },
    initialFetchTimeout: durationOf(0),
    resourceApiVersion: ApiVersion.V3,
  });
}

/** Equal text. */
export function exactMatch(value: string): StringMatcher {
  return create(StringMatcherSchema, { matchPattern: { case: 'exact', value } });
}

/** Text that starts with. */
export function prefixMatch(value: string): StringMatcher {
  return create(StringMatcherSchema, { matchPattern: { case: 'prefix', value } });
}

/** Text that ends with. */
export function suffixMatch(value: string): StringMatcher {
  return create(StringMatcherSchema, { matchPattern: { case: 'suffix', value } });
}

/** Whole text matches the regular expression (RE2). */
export function regexMatch(regex: string): StringMatcher {
  return create(StringMatcherSchema, { matchPattern: { case: 'safeRegex', value: { regex } } });
}

/** Text for a regular expression that matches just this text (as Go's regexp.QuoteMeta). */
export function quoteRegex(text: string): string {
  return text.replace(/[\\.+*?()|[\]{}^$]/g, '\\$&');
}
