/** CustomResourceDefinitions: which custom kinds a cluster has, as they come and go. */
import type { Logger } from '#base/log.ts';
import type { KubeClient } from '#kube/client.ts';
import { type KubeObject, apiResources } from '#kube/object.ts';
import { Reflector } from '#kube/reflector.ts';
import { customKinds, definitionName } from './followed_kinds.ts';

/** What is read of a definition. */
export interface Definition {
  /** `virtualservices.networking.istio.io`. */
  readonly name: string;
  /** Versions that the server serves; empty until the definition is established. */
  readonly versions: readonly string[];
}

interface RawDefinition extends KubeObject {
  readonly spec?: { readonly versions?: readonly { readonly name: string; readonly served?: boolean }[] };
  readonly status?: { readonly conditions?: readonly { readonly type: string; readonly status: string }[] };
}

const wanted = new Set(customKinds.map(definitionName));

function readDefinition(object: KubeObject, previous: Definition | undefined): Definition | undefined {
  const { metadata, spec, status } = object as RawDefinition;
  if (!wanted.has(metadata.name)) return undefined;
  const established = status?.conditions?.some(
    (condition) => condition.type === 'Established' && condition.status === 'True',
  );
  const versions =
    established === true
      ? (spec?.versions ?? []).filter(({ served }) => served === true).map(({ name }) => name)
      : [];
  const same = previous !== undefined && previous.versions.join() === versions.join();
  return same ? previous : { name: metadata.name, versions };
}

/** Follows the definitions of the kinds that the mesh reads. */
export function followDefinitions(options: {
  readonly client: KubeClient;
  readonly log: Logger;
  readonly watchSeconds?: number;
  readonly onChange: () => void;
}): Reflector<Definition> {
  return new Reflector<Definition>({
    client: options.client,
    resource: apiResources.customResourceDefinitions,
    log: options.log,
    // Definitions carry schemas of a hundred kilobytes each.
    pageSize: 25,
    read: readDefinition,
    onChanges: options.onChange,
    ...(options.watchSeconds === undefined ? {} : { watchSeconds: options.watchSeconds }),
  });
}
