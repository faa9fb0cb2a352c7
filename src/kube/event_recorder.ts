/** Events (v1) about objects: what `kubectl describe` shows of what the control plane did or refused. */
import { type Logger, silentLogger } from '#base/log.ts';
import type { KubeClient } from './client.ts';
import { type KubeObject, apiResources } from './object.ts';

/** The object that an event is about. */
export interface EventSubject {
  readonly apiVersion: string;
  readonly kind: string;
  /** Empty for cluster-scoped objects. */
  readonly namespace: string;
  readonly name: string;
  readonly uid?: string;
}

/** What happened. */
export interface KubeEvent {
  readonly type: 'Normal' | 'Warning';
  /** One word in CamelCase. */
  readonly reason: string;
  /** Cut at 1024 characters. */
  readonly message: string;
}

/** Options of a recorder. */
export interface EventRecorderOptions {
  readonly client: KubeClient;
  /** Component that reports: `istiod`. */
  readonly component: string;
  /** Name of the reporting pod. */
  readonly instance: string;
  /** Most events in `perMs`; more are dropped. Default 50 in 60 s. */
  readonly limit?: number;
  readonly perMs?: number;
  readonly log?: Logger;
}

interface Event extends KubeObject {
  readonly [field: string]: unknown;
}

/** The same event is sent once in this time. */
const repeatMs = 10 * 60_000;
/** Most events that are remembered. */
const maxRemembered = 1000;

/** Sends events without waiting for them. Events are a courtesy: those that cannot be sent are dropped. */
export class EventRecorder {
  readonly #options: EventRecorderOptions;
  readonly #log: Logger;
  readonly #sentAt = new Map<string, number>();
  #windowStart = 0;
  #inWindow = 0;
  #count = 0;

  constructor(options: EventRecorderOptions) {
    this.#options = options;
    this.#log = options.log ?? silentLogger;
  }

  record(subject: EventSubject, event: KubeEvent): void {
    const now = Date.now();
    const key = JSON.stringify([subject.kind, subject.namespace, subject.name, event.reason, event.message]);
    const last = this.#sentAt.get(key);
    if (last !== undefined && now - last < repeatMs) return;
    const { limit = 50, perMs = 60_000 } = this.#options;
    if (now - this.#windowStart >= perMs) {
      this.#windowStart = now;
      this.#inWindow = 0;
    }
    if (++this.#inWindow > limit) return;
    if (this.#sentAt.size >= maxRemembered) this.#sentAt.clear();
    this.#sentAt.set(key, now);
    void this.#send(subject, event, now);
  }

  async #send(subject: EventSubject, { type, reason, message }: KubeEvent, now: number): Promise<void> {
    const { client, component, instance } = this.#options;
    const namespace = subject.namespace === '' ? 'default' : subject.namespace;
    const time = new Date(now).toISOString().replace(/\.\d+Z$/, 'Z');
    const name = `${subject.name.slice(0, 200)}.${now.toString(16)}${(this.#count++).toString(16)}`;
    try {
      await client.create<Event>(apiResources.events, namespace, {
        apiVersion: 'v1',
        kind: 'Event',
        metadata: { name, namespace },
        involvedObject: {
          apiVersion: subject.apiVersion,
          kind: subject.kind,
          name: subject.name,
          ...(subject.namespace === '' ? {} : { namespace: subject.namespace }),
          ...(subject.uid === undefined || subject.uid === '' ? {} : { uid: subject.uid }),
        },
        type,
        reason,
        message: message.slice(0, 1024),
        source: { component, host: instance },
        reportingComponent: component,
        reportingInstance: instance,
        firstTimestamp: time,
        lastTimestamp: time,
        count: 1,
      });
    } catch (error) {
      this.#log.debug('an event was not sent', { object: subject.name, reason, error });
    }
  }
}
