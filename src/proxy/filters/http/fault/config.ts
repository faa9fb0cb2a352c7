/** Extension `envoy.filters.http.fault`. */
import { fromBinary } from '@bufbuild/protobuf';
import { HTTPFaultSchema } from '#api/gen/envoy/extensions/filters/http/fault/v3/fault_pb.ts';
import { typeUrlOf } from '#api/type_urls.ts';
import type { HttpFilterExtension } from '../../../factory_context.ts';
import { compileFault, FaultFilter, type FaultCount } from './fault.ts';
import { refuseFields } from '../../../network/refused_fields.ts';

function read(value: Uint8Array): ReturnType<typeof compileFault> {
  const proto = fromBinary(HTTPFaultSchema, value);
  refuseFields(proto);
  return compileFault(proto);
}

export const fault = {
  name: 'envoy.filters.http.fault',
  typeUrls: [typeUrlOf(HTTPFaultSchema)],
  create(config, context, filterName) {
    const own = read(config.value);
    const count: FaultCount = { active: 0 };
    const random = (): number => context.random();
    return { createFilter: (callbacks) => new FaultFilter(own, filterName, callbacks, random, count) };
  },
  createRouteConfig: (config) => read(config.value),
} as const satisfies HttpFilterExtension;
