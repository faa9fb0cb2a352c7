/** `envoy.access_loggers.extension_filters.cel`: a CEL expression decides what is logged. Telemetry's filters become this. */
import { fromBinary } from '@bufbuild/protobuf';
import { ExpressionFilterSchema } from '#api/gen/envoy/extensions/access_loggers/filters/cel/v3/cel_pb.ts';
import { compileCelExpression } from '../cel/expression.ts';
import type { LogPredicate } from './log_entry.ts';

/** Type URL of the filter's configuration. */
export const celFilterType: string = `type.googleapis.com/${ExpressionFilterSchema.typeName}`;

/**
 * Entries for which the expression is true are logged; one that cannot be evaluated (a header that is not there) is not.
 * @throws Error for an expression that cannot run.
 */
export function compileCelFilter(config: Uint8Array): LogPredicate {
  const { expression, celConfig } = fromBinary(ExpressionFilterSchema, config);
  if (celConfig !== undefined) throw new Error('cel_config of a CEL filter is not implemented');
  const evaluate = compileCelExpression(expression);
  return (entry) => evaluate(entry) === true;
}
