/** Which path of a gateway to ask: the first one that its VirtualServices route. */
import type { VirtualService } from '#config/kinds/virtual_service/types.ts';
import type { ConfigStore } from '#config/store/store.ts';

/** `/productpage` for bookinfo; `/` when nothing says more. */
export function entryPath(store: ConfigStore): string {
  for (const resource of store.list('VirtualService')) {
    const spec = (resource.body as { readonly spec?: VirtualService }).spec;
    if (spec?.gateways === undefined || spec.gateways.every((name) => name === 'mesh')) continue;
    for (const route of spec.http ?? []) {
      for (const { uri } of route.match ?? []) {
        if (uri === undefined) continue;
        const path = 'exact' in uri ? uri.exact : 'prefix' in uri ? uri.prefix : undefined;
        if (typeof path === 'string') return path;
      }
    }
  }
  return '/';
}
