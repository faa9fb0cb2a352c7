/** Resource monitors of the overload manager: each gives a pressure from 0 to 1, or more. */
import { readFileSync } from 'node:fs';
import { fromBinary } from '@bufbuild/protobuf';
import type { ResourceMonitor } from '#api/gen/envoy/config/overload/v3/overload_pb.ts';
import { CgroupMemoryConfigSchema } from '#api/gen/envoy/extensions/resource_monitors/cgroup_memory/v3/cgroup_memory_pb.ts';
import { DownstreamConnectionsConfigSchema } from '#api/gen/envoy/extensions/resource_monitors/downstream_connections/v3/downstream_connections_pb.ts';
import { FixedHeapConfigSchema } from '#api/gen/envoy/extensions/resource_monitors/fixed_heap/v3/fixed_heap_pb.ts';
import { InjectedResourceConfigSchema } from '#api/gen/envoy/extensions/resource_monitors/injected_resource/v3/injected_resource_pb.ts';

/** What monitors read of the world. */
export interface MonitorWorld {
  /** Resident memory of the process, bytes. */
  rss(): number;
  /** Memory limit of the control group, bytes; undefined without one. */
  readonly memoryLimit: number | undefined;
  /** Open downstream connections of all workers. */
  connections(): number;
  /** @throws Error when the file cannot be read. */
  readFile(path: string): string;
}

export interface Monitor {
  readonly name: string;
  /** @throws Error when it cannot be told. */
  pressure(): number;
}

export const connectionMonitor = 'envoy.resource_monitors.global_downstream_max_connections';
export const memoryMonitor = 'envoy.resource_monitors.cgroup_memory';

/** Paths of the limit in a container: cgroup v2, then v1. */
const limitFiles = ['/sys/fs/cgroup/memory.max', '/sys/fs/cgroup/memory/memory.limit_in_bytes'];

/** A limit above this is what cgroup v1 prints for none. */
const noLimit = 2 ** 60;

/** The memory limit of the control group, bytes; undefined without one. */
export function readMemoryLimit(readFile: (path: string) => string): number | undefined {
  for (const path of limitFiles) {
    try {
      const limit = Number(readFile(path).trim());
      if (Number.isFinite(limit) && limit > 0 && limit < noLimit) return limit;
    } catch {
      // Not this version of cgroups.
    }
  }
  return undefined;
}

/** The real world; `connections` is counted by the workers. */
export function systemWorld(connections: () => number): MonitorWorld {
  const readFile = (path: string): string => readFileSync(path, 'utf8');
  return {
    rss: () => process.memoryUsage.rss(),
    memoryLimit: readMemoryLimit(readFile),
    connections,
    readFile,
  };
}

/** Most downstream connections that a monitor of the configuration allows; undefined for no limit. */
export function connectionLimit(configs: readonly ResourceMonitor[]): number | undefined {
  for (const { configType } of configs) {
    if (configType.case !== 'typedConfig') continue;
    if (configType.value.typeUrl.endsWith(DownstreamConnectionsConfigSchema.typeName))
      return Number(
        fromBinary(DownstreamConnectionsConfigSchema, configType.value.value).maxActiveDownstreamConnections,
      );
  }
  return undefined;
}

/** @throws Error that names a monitor that is not implemented or has a bad configuration. */
export function createMonitor({ name, configType }: ResourceMonitor, world: MonitorWorld): Monitor {
  const any = configType.case === 'typedConfig' ? configType.value : undefined;
  const type = any?.typeUrl.slice(any.typeUrl.lastIndexOf('/') + 1);
  const bytes = any?.value ?? new Uint8Array();
  switch (type) {
    case FixedHeapConfigSchema.typeName: {
      const max = Number(fromBinary(FixedHeapConfigSchema, bytes).maxHeapSizeBytes);
      if (max <= 0) throw new Error(`overload_manager: ${name}: max_heap_size_bytes must be above 0`);
      return { name, pressure: () => world.rss() / max };
    }
    case CgroupMemoryConfigSchema.typeName: {
      const configured = Number(fromBinary(CgroupMemoryConfigSchema, bytes).maxMemoryBytes);
      const limit = Math.min(configured || Infinity, world.memoryLimit ?? Infinity);
      return { name, pressure: () => (limit === Infinity ? 0 : world.rss() / limit) };
    }
    case DownstreamConnectionsConfigSchema.typeName: {
      const max = Number(fromBinary(DownstreamConnectionsConfigSchema, bytes).maxActiveDownstreamConnections);
      if (max <= 0)
        throw new Error(`overload_manager: ${name}: max_active_downstream_connections must be above 0`);
      return { name, pressure: () => world.connections() / max };
    }
    case InjectedResourceConfigSchema.typeName: {
      const { filename } = fromBinary(InjectedResourceConfigSchema, bytes);
      return {
        name,
        pressure: () => {
          const value = Number(world.readFile(filename).trim());
          if (!(value >= 0 && value <= 1)) throw new Error(`${filename}: no number from 0 to 1`);
          return value;
        },
      };
    }
    default:
      throw new Error(`overload_manager: resource monitor ${name} (${type ?? 'no type'}) is not implemented`);
  }
}
