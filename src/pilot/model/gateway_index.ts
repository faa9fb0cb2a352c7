/** Gateways, and which of them a proxy carries. */
import type { Gateway } from '#config/kinds/gateway/types.ts';
import type { ConfigStore } from '#config/store/store.ts';
import { type ConfigObject, configObjects } from './config_object.ts';
import { type Labels, selectorMatches } from './labels.ts';

/** All Gateways, oldest first. */
export interface GatewayIndex {
  readonly gateways: readonly ConfigObject<Gateway>[];
}

/** Reads all Gateways. */
export function buildGatewayIndex(store: ConfigStore): GatewayIndex {
  return { gateways: configObjects<Gateway>(store, 'Gateway').filter(isIstioGateway) };
}

/** The Gateway API has a kind of the same name. */
function isIstioGateway(object: ConfigObject<Gateway>): boolean {
  return object.apiVersion.startsWith('networking.istio.io/');
}

/** Gateways whose selector chooses a proxy with these labels, in any namespace. */
export function gatewaysFor(index: GatewayIndex, labels: Labels): readonly ConfigObject<Gateway>[] {
  return index.gateways.filter(({ spec }) => selectorMatches(spec.selector, labels));
}
