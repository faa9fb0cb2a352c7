/** Extension `envoy.filters.http.fault`. */
import { fromBinary } from '@bufbuild/protobuf';
import { HTTPFaultSchema } from '#api/gen/envoy/extensions/filters/http/fault/v3/fault_pb.ts';
import { typeUrlOf } from '#api/type_urls.ts';
import type { Counter } from '#telemetry/metrics.ts';
import type { HttpFilterExtension } from '../../../factory_context.ts';
import { compileFault, FaultFilter, type FaultSettings, type FaultShared } from './fault.ts';

function read(value: Uint8Array): FaultSettings {
  return compileFault(fromBinary(HTTPFaultSchema, value));
}

export const fault = {
  name: 'envoy.filters.http.fault',
  typeUrls: [typeUrlOf(HTTPFaultSchema)],
  create(config, context, filterName) {
    const { metrics, runtime } = context;
    const labels = { envoy_http_conn_manager_prefix: context.statPrefix ?? '' };
    const counter = (name: string): Counter => metrics.counter(`envoy_http_fault_${name}`, labels);
    const shared: FaultShared = {
      filterName,
      own: read(config.value),
      runtime,
      active: metrics.gauge('envoy_http_fault_active_faults', labels),
      aborts: counter('aborts_injected'),
      delays: counter('delays_injected'),
      overflow: counter('faults_overflow'),
      random: () => context.random(),
    };
    return { createFilter: (callbacks) => new FaultFilter(callbacks, shared) };
  },
  createRouteConfig: (config) => read(config.value),
} as const satisfies HttpFilterExtension;
