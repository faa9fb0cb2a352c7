/**
 * A store that follows a cluster. Kubernetes' own kinds from the start, endpoints in the best form that the server has,
 * custom kinds as their definitions come and go. An object that is not good is reported, and its last good version stays.
 */
import { type Logger, silentLogger } from '#base/log.ts';
import { preferredVersion } from '#kube/api_discovery.ts';
import type { KubeClient } from '#kube/client.ts';
import type { KubeObject } from '#kube/object.ts';
import { apiResource } from '#kube/object.ts';
import { Reflector, type ReflectorChange, type ReflectorState } from '#kube/reflector.ts';
import { MetricsRegistry } from '#telemetry/metrics.ts';
import type { Resource } from '../../resource.ts';
import { type MemoryStoreEdit, createMemoryStore } from '../memory.ts';
import type { ConfigStore } from '../store.ts';
import { followDefinitions } from './definitions.ts';
import {
  type CoreKind,
  coreKinds,
  customKinds,
  customVersion,
  definitionName,
  endpointSliceKind,
  endpointSliceVersions,
  endpointsKind,
} from './followed_kinds.ts';
import { type KubeProblem, Problems } from './problems.ts';
import { readKubeObject } from './read_object.ts';

/** Options of a cluster's store. */
export interface KubeStoreOptions {
  readonly client: KubeClient;
  /** Of the control plane: where the ConfigMap of the mesh is. Default `istio-system`. */
  readonly namespace?: string;
  /** Name of that ConfigMap. Default `istio`. */
  readonly configMapName?: string;
  /** Whether Secrets are read. Default true. */
  readonly secrets?: boolean;
  readonly metrics?: MetricsRegistry;
  /** An object is not good; told once per set of errors. */
  readonly onProblem?: (problem: KubeProblem) => void;
  readonly log?: Logger;
  /** See `ReflectorOptions.watchSeconds`. */
  readonly watchSeconds?: number;
  /** See `ReflectorOptions.backoff`. */
  readonly backoff?: { readonly baseMs: number; readonly maxMs: number };
  /** Wait before the server is asked once more which versions of endpoints it has. Default 5 s. */
  readonly resolveAgainMs?: number;
}

/** A store that follows a cluster. */
export interface KubeStore extends ConfigStore {
  /** Resolves once the first full state has been read. */
  whenSynced(): Promise<void>;
  /** Objects that are not in force as they stand. */
  problems(): readonly KubeProblem[];
  /** State of each watch. */
  watches(): readonly ReflectorState[];
  /** Stops following. No listener is called after it resolves. */
  close(): Promise<void>;
}

/** What is kept of an object: what is in force of it, undefined when it never was good. */
interface Held {
  readonly namespace: string;
  readonly name: string;
  readonly resource: Resource | undefined;
}

/** One kind that is followed. */
interface Follower {
  readonly apiVersion: string;
  readonly reflector: Reflector<Held>;
  readonly optional: boolean;
}

/** What is followed under a name of kind; apiVersion is that of the store. */
interface Target extends CoreKind {
  readonly apiVersion: string;
}

/** So many answers in a row without EndpointSlices are believed. */
const answersWithoutSlices = 3;
/** How often `whenSynced` looks. */
const syncPollMs = 20;

/** Starts following; the store fills from then on. */
export function openKubeStore(options: KubeStoreOptions): KubeStore {
  const { client, namespace = 'istio-system', configMapName = 'istio' } = options;
  const log = (options.log ?? silentLogger).scope('kube');
  const metrics = options.metrics ?? new MetricsRegistry();
  const memory = createMemoryStore({ synced: false });
  const problems = new Problems(log, metrics, options.onProblem);
  const followers = new Map<string, Follower>();
  const leaving = new Set<Promise<void>>();
  const stop = new AbortController();
  const tuning = {
    ...(options.watchSeconds === undefined ? {} : { watchSeconds: options.watchSeconds }),
    ...(options.backoff === undefined ? {} : { backoff: options.backoff }),
  };
  let endpointsResolved = false;
  let withoutSlices = 0;
  let resolveTimer: NodeJS.Timeout | undefined;

  function onChanges(kind: string, changes: readonly ReflectorChange<Held>[]): void {
    const edits: MemoryStoreEdit[] = changes.map(
      ({ type, value: { namespace: of, name: called, resource } }) =>
        type === 'delete' || resource === undefined
          ? { type: 'remove', kind, namespace: of, name: called }
          : { type: 'put', resource },
    );
    const name = customKindNames.has(kind) ? 'pilot_k8s_cfg_events' : 'pilot_k8s_reg_events';
    for (const change of changes) {
      if (change.type === 'delete') problems.clear(kind, change.value);
      metrics.counter(name, { type: kind, event: change.type }, eventsHelp).inc();
    }
    memory.apply(edits);
  }

  function read(target: Target, object: KubeObject, previous: Held | undefined): Held | undefined {
    const { apiVersion, kind } = target;
    const body = target.trim(object as KubeObject & Readonly<Record<string, unknown>>);
    if (body === undefined) return undefined;
    const { namespace: of = '', name } = object.metadata;
    const result = readKubeObject(apiVersion, kind, object, body);
    const lastGood = previous?.resource;
    if (!result.ok) {
      problems.add(apiVersion, kind, object.metadata, result.errors, lastGood !== undefined);
      return previous ?? { namespace: of, name, resource: undefined };
    }
    problems.clear(kind, object.metadata);
    const same = result.resource.metadata.resourceVersion === lastGood?.metadata.resourceVersion;
    return same && previous !== undefined ? previous : { namespace: of, name, resource: result.resource };
  }

  function follow(target: Target, onUnknown?: () => void): void {
    const reflector = new Reflector<Held>({
      client,
      resource: target.resource,
      ...(target.namespace === undefined ? {} : { namespace: target.namespace }),
      ...(target.fieldSelector === undefined ? {} : { fieldSelector: target.fieldSelector }),
      ...tuning,
      log,
      read: (object, previous) => read(target, object, previous),
      onChanges: (changes) => onChanges(target.kind, changes),
      ...(onUnknown === undefined ? {} : { onUnknown }),
    });
    followers.set(target.kind, {
      apiVersion: `${target.resource.group}/${target.resource.version}`,
      reflector,
      optional: target.optional ?? false,
    });
    reflector.start();
  }

  /** Stops following a kind. Its objects stay until `sweep`, or go here. */
  function unfollow(kind: string, removeObjects: boolean): void {
    const follower = followers.get(kind);
    followers.delete(kind);
    if (follower !== undefined) {
      const closing = follower.reflector.close().finally(() => leaving.delete(closing));
      leaving.add(closing);
    }
    if (!removeObjects) return;
    for (const held of follower?.reflector.values() ?? []) problems.clear(kind, held);
    removeAllBut(kind, new Set());
  }

  function removeAllBut(kind: string, kept: ReadonlySet<Resource | undefined>): void {
    const gone = memory.list(kind).filter((resource) => !kept.has(resource));
    memory.apply(
      gone.map(({ metadata }) => ({
        type: 'remove',
        kind,
        namespace: metadata.namespace,
        name: metadata.name,
      })),
    );
  }

  /** After a change of version: objects that the new list does not hold go. False when it is followed no more. */
  async function sweep(kind: string): Promise<boolean> {
    const follower = followers.get(kind);
    if (follower === undefined) return false;
    await follower.reflector.synced();
    if (stop.signal.aborted || followers.get(kind) !== follower) return false;
    removeAllBut(kind, new Set([...follower.reflector.values()].map(({ resource }) => resource)));
    return true;
  }

  function onDefinitions(): void {
    for (const kind of customKinds) {
      const definition = definitions.get(undefined, definitionName(kind));
      const version = definition === undefined ? undefined : customVersion(kind, definition.versions);
      const current = followers.get(kind.kind);
      if (version === current?.apiVersion) continue;
      // A definition that is being changed may serve nothing for a moment: only one that is gone takes objects along.
      if (version === undefined && definition !== undefined && current !== undefined) continue;
      unfollow(kind.kind, version === undefined);
      if (version === undefined) continue;
      log.info('following', { kind: kind.kind, apiVersion: version });
      follow({
        kind: kind.kind,
        apiVersion: kind.apiVersion,
        resource: apiResource(version, kind.plural, kind.namespaced),
        trim: (object) => (object['spec'] === undefined ? {} : { spec: object['spec'] }),
      });
      if (current !== undefined) void sweep(kind.kind);
    }
  }

  /** Chooses how endpoints are read; asks again until the server has answered. */
  async function resolveEndpoints(): Promise<void> {
    try {
      const version = await preferredVersion(
        client,
        'discovery.k8s.io',
        'endpointslices',
        endpointSliceVersions,
        stop.signal,
      );
      if (stop.signal.aborted) return;
      const current = followers.has('EndpointSlice');
      // A server that is starting may not know its own groups yet: slices are given up only when it stays so.
      if (version === undefined && current && ++withoutSlices < answersWithoutSlices) return resolveLater();
      withoutSlices = 0;
      const chosen = version === undefined ? endpointsKind : endpointSliceKind(version);
      const apiVersion = version === undefined ? 'v1' : 'discovery.k8s.io/v1';
      const { group, version: own } = chosen.resource;
      if (followers.get(chosen.kind)?.apiVersion !== `${group}/${own}`) {
        log.info('reading endpoints', { from: chosen.kind, version: own });
        unfollow(chosen.kind, false);
        follow({ ...chosen, apiVersion }, resolveLater);
        // What is in force stays until the new list is there.
        const other = version === undefined ? 'EndpointSlice' : 'Endpoints';
        void sweep(chosen.kind).then((done) => done && unfollow(other, true));
      }
      endpointsResolved = true;
    } catch (error) {
      if (stop.signal.aborted) return;
      log.warn('the server does not say which endpoints it has', { error });
      resolveLater();
    }
  }

  function resolveLater(): void {
    if (stop.signal.aborted || resolveTimer !== undefined) return;
    resolveTimer = setTimeout(() => {
      resolveTimer = undefined;
      void resolveEndpoints();
    }, options.resolveAgainMs ?? 5000);
  }

  function isSynced(): boolean {
    if (memory.synced) return true;
    if (!definitions.isSynced || !endpointsResolved) return false;
    for (const { reflector, optional } of followers.values()) {
      if (reflector.isSynced || (optional && reflector.state.error !== undefined)) continue;
      return false;
    }
    memory.markSynced();
    return true;
  }

  const definitions = followDefinitions({ client, log, ...tuning, onChange: onDefinitions });
  for (const kind of coreKinds(namespace, configMapName))
    if (kind.kind !== 'Secret' || options.secrets !== false) follow({ ...kind, apiVersion: 'v1' });
  definitions.start();
  void resolveEndpoints();

  return {
    list: memory.list,
    get: memory.get,
    subscribe: memory.subscribe,
    get synced() {
      return isSynced();
    },
    async whenSynced() {
      while (!isSynced() && !stop.signal.aborted)
        await new Promise((resolve) => setTimeout(resolve, syncPollMs));
    },
    problems: () => problems.list(),
    watches: () => [definitions.state, ...[...followers.values()].map(({ reflector }) => reflector.state)],
    async close() {
      stop.abort();
      clearTimeout(resolveTimer);
      const open = [
        definitions.close(),
        ...[...followers.values()].map(({ reflector }) => reflector.close()),
      ];
      await Promise.all([...open, ...leaving]);
    },
  };
}

const eventsHelp = 'Events from k8s config.';
const customKindNames: ReadonlySet<string> = new Set(customKinds.map(({ kind }) => kind));
