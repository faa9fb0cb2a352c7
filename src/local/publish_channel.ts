/** Messages by which the mesh inside a sandbox asks the process outside to publish a port. */

/** Asks for a port of the person's machine that leads to a port of a pod. */
export interface PublishRequest {
  readonly type: 'trysail.publish';
  readonly id: number;
  readonly host: string;
  readonly port: number;
}

/** The answer: a port of 127.0.0.1, or why there is none. */
export interface PublishAnswer {
  readonly type: 'trysail.published';
  readonly id: number;
  readonly port?: number;
  readonly error?: string;
}

function hasType(message: unknown, type: string): boolean {
  return typeof message === 'object' && message !== null && (message as { type?: unknown }).type === type;
}

export function isPublishRequest(message: unknown): message is PublishRequest {
  return hasType(message, 'trysail.publish');
}

export function isPublishAnswer(message: unknown): message is PublishAnswer {
  return hasType(message, 'trysail.published');
}
