/**
 * Pods with captured packets: each a network namespace with its own address behind a bridge, its traffic redirected to
 * its sidecar by the rules of `istio-iptables`. Runs inside a sandbox, with which all of it ends.
 */
import type { ChildProcess } from 'node:child_process';
import { chownSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Logger } from '#base/log.ts';
import { defaultCaptureConfig } from '#capture/config.ts';
import type { CheckLine, CaptureEvidence, HostDriver, PodHost, ProcessSpec } from './host_driver.ts';
import { readCaptureCounters } from './network/capture_counters.ts';
import { createNodeNetwork, dnsAddress } from './network/node_network.ts';
import { sidecarUser } from './network/pod_command.ts';
import type { PodNetwork } from './network/pod_network.ts';
import { startPlaintextProbe } from './network/plaintext_probe.ts';
import { acceptPortForwards } from './network/port_forward.ts';
import type { AppPort } from './pod_objects.ts';
import { isPublishAnswer, type PublishRequest } from './publish_channel.ts';
import { isListeningIn } from './listening_sockets.ts';
import { podKey, type PlannedPod } from './workloads.ts';

export interface CaptureDriverOptions {
  readonly directory: string;
  readonly log: Logger;
  readonly controlPlanePort: number;
  /** Who the applications run as when root opened the sandbox for somebody. */
  readonly onBehalfOf?: { readonly uid: number; readonly gid: number };
}

const sidecarId = 1337;

/** How long the process outside may take to publish a port. */
const publishTimeoutMs = 5000;

/** Ports of the sidecar that are never captured inbound (features.md 2.6). */
const sidecarInboundPorts = ['15090', '15021', '15020'];

export async function createCaptureDriver(options: CaptureDriverOptions): Promise<HostDriver> {
  acceptPortForwards(process);
  const network = await createNodeNetwork(
    options.log,
    options.onBehalfOf === undefined ? {} : { onBehalfOf: options.onBehalfOf },
  );
  const captured = new Map<string, PodNetwork>();
  let lastPublish = 0;
  // numbers and not names: paths of Unix sockets below hold 107 bytes at most
  let lastPod = 0;

  async function createPod(pod: PlannedPod): Promise<PodHost> {
    const podNetwork = await network.createPod({ name: pod.name, namespace: pod.namespace });
    const ports: AppPort[] = [];
    const openPort = async (containerPort: number, name?: string): Promise<void> => {
      ports.push({ containerPort, name, dialPort: containerPort, listenPort: containerPort });
    };
    for (const container of pod.containers) {
      for (const port of container.ports ?? []) {
        if (port.protocol === undefined || port.protocol === 'TCP')
          await openPort(port.containerPort, port.name);
      }
    }
    const directory = join(options.directory, 'p', String(++lastPod));
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    chownSync(directory, sidecarId, sidecarId);
    if (pod.injected && pod.role === 'sidecar') {
      await podNetwork.runIptables({
        ...defaultCaptureConfig,
        inboundPorts: '*',
        excludeInboundPorts: sidecarInboundPorts,
        outboundRanges: '*',
        dns: { kind: 'servers', v4: [dnsAddress], v6: [] },
      });
      captured.set(podKey(pod), podNetwork);
    }
    return {
      ip: podNetwork.ip,
      listenHost: '0.0.0.0',
      ports,
      directory,
      appEnv: {},
      sidecarEnv: {
        ISTIO_META_INTERCEPTION_MODE: 'REDIRECT',
        ISTIO_META_DNS_CAPTURE: 'true',
      },
      openPort: (containerPort) => openPort(containerPort),
      start(spec: ProcessSpec): ChildProcess {
        const [command = '', ...args] = spec.command;
        return podNetwork.spawn(command, args, {
          env: spec.env,
          cwd: spec.cwd,
          stdio: [spec.input === true ? 'pipe' : 'ignore', 'pipe', 'pipe'],
          // the sidecar reads the program from wherever the person keeps it, and owns nothing but its pod's folder
          ...(spec.who === 'sidecar' ? { user: sidecarUser, readsAllFiles: true } : {}),
        });
      },
      isListening: async (port, application) =>
        application.pid !== undefined && isListeningIn(application.pid, port.listenPort),
      sidecarAddress: (port) => ({ host: podNetwork.ip, port }),
      async remove() {
        captured.delete(podKey(pod));
        await podNetwork.remove();
      },
    };
  }

  function publish(host: PodHost, port: number): Promise<string> {
    if (process.send === undefined) return Promise.resolve(`http://${host.ip}:${port}`);
    const id = ++lastPublish;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => done(new Error('no answer from outside the sandbox')), publishTimeoutMs);
      const done = (error: Error | undefined, url = ''): void => {
        clearTimeout(timer);
        process.off('message', onAnswer);
        if (error === undefined) resolve(url);
        else reject(error);
      };
      const onAnswer = (message: unknown): void => {
        if (!isPublishAnswer(message) || message.id !== id) return;
        if (message.port === undefined) done(new Error(message.error ?? 'refused'));
        else done(undefined, `http://localhost:${message.port}`);
      };
      process.on('message', onAnswer);
      process.send?.({ type: 'trysail.publish', id, host: host.ip, port } satisfies PublishRequest);
    });
  }

  const evidence: CaptureEvidence = {
    async watch(markers) {
      const before = await countAll(captured);
      // the node itself is no part of the mesh: probes, scrapes and the person's requests come from it
      const probe = await startPlaintextProbe(network.bridge, markers, network.nodeAddress);
      return {
        async finish() {
          const lines: CheckLine[] = [];
          if ('missing' in probe)
            lines.push({ ok: true, text: `plain text between pods not looked for: ${probe.missing}` });
          else {
            const report = await probe.stop();
            const seen = report.seen.map(({ marker, flow }) => `${JSON.stringify(marker)} in ${flow}`);
            lines.push({
              ok: seen.length === 0 && report.segments > 0,
              text: `no plain text in ${report.segments} segments between pods${seen.length > 0 ? `, but ${seen.join(', ')}` : ''}`,
            });
          }
          const after = await countAll(captured);
          lines.push({
            ok: after.inbound > before.inbound && after.outbound > before.outbound,
            text: `capture rules saw ${after.inbound - before.inbound} inbound and ${after.outbound - before.outbound} outbound connections`,
          });
          return lines;
        },
      };
    },
  };

  return {
    mode: 'capture',
    reason: `packets are captured in network namespaces (${isRootless() ? 'rootless' : 'root'})`,
    controlPlane: { host: network.nodeAddress, port: options.controlPlanePort },
    createPod,
    publish,
    evidence,
    close: async () => {},
  };
}

/** True when root in here is an ordinary user outside. */
function isRootless(): boolean {
  const [, outside] = readFileSync('/proc/self/uid_map', 'utf8').trim().split(/\s+/);
  return outside !== '0';
}

async function countAll(
  pods: ReadonlyMap<string, PodNetwork>,
): Promise<{ inbound: number; outbound: number }> {
  const counters = await Promise.all(
    [...pods.values()].map((pod) => readCaptureCounters(pod.networkNamespace)),
  );
  return {
    inbound: counters.reduce((sum, { inboundConnections }) => sum + inboundConnections, 0),
    outbound: counters.reduce((sum, { outboundConnections }) => sum + outboundConnections, 0),
  };
}
