/** Overload actions: what is done, and from which pressure on (envoy.config.overload.v3.OverloadAction). */
import type { OverloadAction, Trigger } from '#api/gen/envoy/config/overload/v3/overload_pb.ts';

/** Actions that are implemented. */
export const actionNames = [
  'envoy.overload_actions.stop_accepting_requests',
  'envoy.overload_actions.disable_http_keepalive',
  'envoy.overload_actions.stop_accepting_connections',
  'envoy.overload_actions.reject_incoming_connections',
  'envoy.overload_actions.shrink_heap',
] as const;
export type ActionName = (typeof actionNames)[number];

/** From 0 (off) to 1 (saturated) for a pressure of 0 to 1. */
type Curve = (pressure: number) => number;

export interface Action {
  readonly name: ActionName;
  /** By name of the resource. The strongest one counts. */
  readonly triggers: ReadonlyMap<string, Curve>;
}

function curveOf(action: string, { name, triggerOneof }: Trigger): Curve {
  if (triggerOneof.case === 'threshold') {
    const { value } = triggerOneof.value;
    return (pressure) => (pressure >= value ? 1 : 0);
  }
  if (triggerOneof.case === undefined)
    throw new Error(`overload_manager: action ${action}: trigger ${name}: neither threshold nor scaled`);
  const { scalingThreshold, saturationThreshold } = triggerOneof.value;
  if (scalingThreshold >= saturationThreshold)
    throw new Error(
      `overload_manager: action ${action}: trigger ${name}: scaling_threshold must be below saturation_threshold`,
    );
  return (pressure) => {
    if (pressure <= scalingThreshold) return 0;
    if (pressure >= saturationThreshold) return 1;
    return (pressure - scalingThreshold) / (saturationThreshold - scalingThreshold);
  };
}

function isImplemented(name: string): name is ActionName {
  return (actionNames as readonly string[]).includes(name);
}

/** @throws Error that names what is not implemented or points at a resource without a monitor. */
export function readActions(
  configs: readonly OverloadAction[],
  resources: ReadonlySet<string>,
): readonly Action[] {
  const seen = new Set<string>();
  return configs.map(({ name, triggers }) => {
    if (!isImplemented(name)) throw new Error(`overload_manager: action ${name} is not implemented`);
    if (seen.has(name)) throw new Error(`overload_manager: duplicate action ${name}`);
    seen.add(name);
    for (const trigger of triggers)
      if (!resources.has(trigger.name))
        throw new Error(`overload_manager: action ${name}: unknown trigger resource ${trigger.name}`);
    return { name, triggers: new Map(triggers.map((trigger) => [trigger.name, curveOf(name, trigger)])) };
  });
}

/** How far the action is on. */
export function stateOf(action: Action, pressures: ReadonlyMap<string, number>): number {
  let state = 0;
  for (const [resource, curve] of action.triggers)
    state = Math.max(state, curve(pressures.get(resource) ?? 0));
  return state;
}

/**
 * For a proxy in a container with a memory limit whose bootstrap names no actions: it gives memory back, then ends
 * keep-alive connections, then turns new requests away, before the kernel kills it.
 */
export function memoryGuard(resource: string): readonly Action[] {
  const from = (threshold: number): ReadonlyMap<string, Curve> =>
    new Map([[resource, (pressure: number) => (pressure >= threshold ? 1 : 0)]]);
  return [
    { name: 'envoy.overload_actions.shrink_heap', triggers: from(0.9) },
    { name: 'envoy.overload_actions.disable_http_keepalive', triggers: from(0.94) },
    { name: 'envoy.overload_actions.stop_accepting_requests', triggers: from(0.97) },
  ];
}
