/** Validation of Telemetry: the rules of Istio's webhook. */
import { parse } from '@marcbachmann/cel-js';
import type { Checker } from '../../schema/checker.ts';
import { duration } from '../../schema/duration.ts';
import { type Schema, boolean, list, map, number, object, oneOf, string } from '../../schema/schema.ts';
import { specBody } from '../body.ts';
import type { WorkloadMode } from '../selector.ts';
import {
  attachmentFields,
  targetReference,
  targetReferences,
  workloadMode,
  workloadSelector,
} from '../selector_schema.ts';
import type {
  AccessLogging,
  MetricSelector,
  Metrics,
  MetricsOverrides,
  ProviderRef,
  TagOverride,
  Telemetry,
  Tracing,
  TracingCustomTag,
} from './types.ts';

const text = string({ minLength: 1 });
const providers = list(object<ProviderRef>({ name: text }, { required: ['name'] }));

function checkTagName(name: string, at: Checker): void {
  if (name === '') at.error('invalid_name', 'tag name cannot be empty');
}

const customTag = object<TracingCustomTag>(
  {
    literal: object<{ readonly value?: string }>({ value: text }, { required: ['value'] }),
    environment: object<{ readonly name?: string; readonly defaultValue?: string }>(
      { name: text, defaultValue: string() },
      { required: ['name'] },
    ),
    header: object<{ readonly name?: string; readonly defaultValue?: string }>(
      { name: text, defaultValue: string() },
      { required: ['name'] },
    ),
    formatter: object<{ readonly value?: string }>({ value: text }, { required: ['value'] }),
  },
  {
    atMostOneOf: [['literal', 'environment', 'header', 'formatter']],
    rule(tag, at) {
      if (Object.keys(tag).length === 0)
        at.error('missing_field', 'required: literal, environment, header or formatter');
    },
  },
);

const tracing = object<Tracing>(
  {
    match: object<{ readonly mode?: WorkloadMode }>({ mode: workloadMode }),
    providers,
    randomSamplingPercentage: number({ min: 0, max: 100 }),
    disableSpanReporting: boolean,
    customTags: map(customTag, { key: checkTagName }),
    useRequestIdForTraceSampling: boolean,
    enableIstioTags: boolean,
    disableContextPropagation: boolean,
  },
  {
    rule(value, at) {
      if ((value.providers ?? []).length > 1)
        at.warn('no_effect', 'only the first provider is used', ['providers', 1]);
    },
  },
);

const tagOverride = object<TagOverride>(
  { operation: oneOf('UPSERT', 'REMOVE'), value: string() },
  {
    rule({ operation = 'UPSERT', value = '' }, at) {
      if (operation === 'UPSERT' && value === '') {
        at.error('missing_field', 'required: a value must be set when the operation is UPSERT', ['value']);
      } else if (operation === 'REMOVE' && value !== '') {
        at.error('conflict', 'a value must not be set when the operation is REMOVE', ['value']);
      }
    },
  },
);

const metrics = object<Metrics>({
  providers,
  overrides: list(
    object<MetricsOverrides>({
      match: object<MetricSelector>(
        {
          metric: oneOf(
            'ALL_METRICS',
            'REQUEST_COUNT',
            'REQUEST_DURATION',
            'REQUEST_SIZE',
            'RESPONSE_SIZE',
            'TCP_OPENED_CONNECTIONS',
            'TCP_CLOSED_CONNECTIONS',
            'TCP_SENT_BYTES',
            'TCP_RECEIVED_BYTES',
            'GRPC_REQUEST_MESSAGES',
            'GRPC_RESPONSE_MESSAGES',
          ),
          customMetric: text,
          mode: workloadMode,
        },
        { atMostOneOf: [['metric', 'customMetric']] },
      ),
      disabled: boolean,
      tagOverrides: map(tagOverride, { key: checkTagName }),
    }),
  ),
  reportingInterval: duration(),
});

/** A CEL expression; only its syntax is checked, attributes are Envoy's. */
const celExpression = string({
  expected: 'a CEL expression',
  rule(expression, at) {
    if (expression === '') return;
    try {
      parse(expression);
    } catch (error) {
      const reason = error instanceof Error ? (error.message.split('\n')[0] ?? '') : String(error);
      at.error('invalid_value', `expected a CEL expression: ${reason}`, [], 'a CEL expression');
    }
  },
});

const accessLogging = object<AccessLogging>({
  match: object<{ readonly mode?: WorkloadMode }>({ mode: workloadMode }),
  providers,
  disabled: boolean,
  filter: object<{ readonly expression?: string }>({ expression: celExpression }),
});

/** `spec` of a Telemetry. */
export const telemetrySpec: Schema<Telemetry> = object<Telemetry>(
  {
    selector: workloadSelector,
    targetRef: targetReference,
    targetRefs: targetReferences,
    tracing: list(tracing),
    metrics: list(metrics),
    accessLogging: list(accessLogging),
  },
  {
    atMostOneOf: [attachmentFields],
    rule(spec, at) {
      if ((spec.tracing ?? []).length > 1)
        at.warn('no_effect', 'multiple tracing is not currently supported', ['tracing', 1]);
    },
  },
);

/** Body of a Telemetry. */
export const telemetryBody = specBody(telemetrySpec);
