/**
 * Pods without packet capture (interception mode NONE): plain processes. Each pod has its own address of 127/8, on which
 * its sidecar listens; the application listens on 127.0.0.1 at a port of its own and uses the sidecar as HTTP proxy.
 * Where the machine has only 127.0.0.1 each pod has its own ports instead.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { ports as wellKnown } from './sidecar_ports.ts';
import { freePort, hasLoopbackRange } from './free_ports.ts';
import type { HostDriver, PodHost, ProcessSpec } from './host_driver.ts';
import type { AppPort } from './pod_objects.ts';
import type { PlannedPod } from './workloads.ts';

export interface NoneDriverOptions {
  /** Directory of this mesh for tokens, certificates and sockets. */
  readonly directory: string;
  /** Why packets are not captured. */
  readonly reason: string;
  readonly controlPlanePort: number;
  /** Forces own ports on 127.0.0.1. Default: only where 127/8 is not there. */
  readonly singleAddress?: boolean;
}

function canConnect(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host, port }, () => {
      socket.destroy();
      resolve(true);
    });
    socket.on('error', () => resolve(false));
  });
}

export async function createNoneDriver(options: NoneDriverOptions): Promise<HostDriver> {
  const single = options.singleAddress ?? !(await hasLoopbackRange());
  const used = new Set<number>();
  let nextHost = 2;
  // numbers and not names: paths of Unix sockets below hold 107 bytes at most
  let lastPod = 0;

  /** A port that no other pod was given, even if it is not bound yet. */
  async function ownPort(host: string): Promise<number> {
    for (;;) {
      const port = await freePort(host);
      if (used.has(port)) continue;
      used.add(port);
      return port;
    }
  }

  async function createPod(pod: PlannedPod): Promise<PodHost> {
    // 127.80.x.y: far from 127.0.0.1 and from what resolvers and databases like to use
    const shared = single || pod.role === 'router';
    const ip = shared ? '127.0.0.1' : `127.80.${(nextHost >> 8) & 0xff}.${nextHost++ & 0xff}`;
    const ports: AppPort[] = [];
    async function openPort(containerPort: number, name?: string): Promise<void> {
      // a gateway keeps its own number wherever it is free, so that the URL is the one people expect
      const dialPort =
        pod.role === 'router'
          ? await freePort(ip, containerPort)
          : shared && pod.injected
            ? await ownPort(ip)
            : containerPort;
      const listenPort =
        pod.role === 'router' ? dialPort : pod.injected ? await ownPort('127.0.0.1') : containerPort;
      ports.push({ containerPort, name, dialPort, listenPort });
    }
    for (const container of pod.containers) {
      for (const port of container.ports ?? []) {
        if (port.protocol === undefined || port.protocol === 'TCP')
          await openPort(port.containerPort, port.name);
      }
    }
    const sidecar: Record<string, number> = {};
    for (const [name, number] of Object.entries(wellKnown))
      sidecar[name] = shared ? await ownPort(ip) : number;
    const directory = join(options.directory, 'p', String(++lastPod));
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    const proxy = `http://${ip}:${sidecar['httpProxy']}`;
    return {
      ip,
      listenHost: pod.injected ? '127.0.0.1' : ip,
      ports,
      directory,
      openPort,
      appEnv: pod.injected
        ? {
            HTTP_PROXY: proxy,
            http_proxy: proxy,
            NO_PROXY: 'localhost,127.0.0.1,::1',
            no_proxy: 'localhost,127.0.0.1,::1',
            NODE_USE_ENV_PROXY: '1',
          }
        : {},
      sidecarEnv: {
        TRYSAIL_BIND_ADDRESS: ip,
        TRYSAIL_PORTS: JSON.stringify(sidecar),
        ISTIO_META_INTERCEPTION_MODE: 'NONE',
        ISTIO_META_HTTP_PROXY_PORT: String(sidecar['httpProxy']),
      },
      start(spec: ProcessSpec): ChildProcess {
        const [command = '', ...args] = spec.command;
        return spawn(command, args, {
          cwd: spec.cwd,
          env: spec.env,
          stdio: [spec.input === true ? 'pipe' : 'ignore', 'pipe', 'pipe'],
          // a group of its own: ending the group ends what the application started too
          detached: true,
        });
      },
      isListening: (port) => canConnect(pod.injected ? '127.0.0.1' : ip, port.listenPort),
      sidecarAddress(port) {
        const name = Object.keys(wellKnown).find((key) => wellKnown[key as keyof typeof wellKnown] === port);
        return { host: ip, port: name === undefined ? port : (sidecar[name] ?? port) };
      },
      remove: async () => {
        for (const port of ports) used.delete(port.listenPort);
      },
    };
  }

  return {
    mode: 'none',
    reason: `no packet capture (interception mode NONE): ${options.reason}`,
    controlPlane: { host: '127.0.0.1', port: options.controlPlanePort },
    createPod,
    // the gateway itself listens on 127.0.0.1
    publish: async (_host, port) => `http://localhost:${port}`,
    close: async () => {},
  };
}
