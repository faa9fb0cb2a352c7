/** Names and addresses for the DNS proxy of the agent (Istio NDS): one table without a name. */
import { NameTableSchema } from '#api/gen/istio/networking/nds/v1/nds_pb.ts';
import { encodeResource } from '#xds/server/encoded_resource.ts';
import { typeUrls } from '#xds/type_url.ts';
import { buildNameTable } from '../networking/name_table.ts';
import type { Generator } from './generator.ts';

export const nds: Generator = {
  typeUrl: typeUrls.nds,
  // Names of the pods of headless services come from endpoints.
  onEndpoints: true,
  named: false,
  generate: (proxy, context) => [encodeResource(NameTableSchema, '', buildNameTable(proxy, context))],
};
