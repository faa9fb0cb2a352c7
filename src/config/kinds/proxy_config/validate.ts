/** Validation of ProxyConfig: the rules of Istio's webhook. */
import { type Schema, integer, map, object, string } from '../../schema/schema.ts';
import { specBody } from '../body.ts';
import { workloadSelector } from '../selector_schema.ts';
import type { ProxyConfigObject } from './types.ts';

/** `spec` of a ProxyConfig. */
export const proxyConfigSpec: Schema<ProxyConfigObject> = object<ProxyConfigObject>({
  selector: workloadSelector,
  concurrency: integer({ min: 0 }),
  environmentVariables: map(string({ maxLength: 2048 })),
  image: object<NonNullable<ProxyConfigObject['image']>>({ imageType: string() }),
});

/** Body of a ProxyConfig. */
export const proxyConfigBody = specBody(proxyConfigSpec);
