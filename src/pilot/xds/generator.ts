/** Resources of one type for one proxy. */
import type { ServedResource } from '#xds/server/source.ts';
import type { Proxy } from '../model/proxy.ts';
import type { PushContext } from '../model/push_context.ts';

/** Makes the resources of one type URL. */
export interface Generator {
  readonly typeUrl: string;
  /** Whether a push of endpoints alone concerns the type. */
  readonly onEndpoints: boolean;
  /** Whether resources are asked for by name; else every proxy gets all that it may have. */
  readonly named: boolean;
  /** @param names what to make, for named types; others ignore it. */
  generate(proxy: Proxy, context: PushContext, names: readonly string[]): readonly ServedResource[];
}
