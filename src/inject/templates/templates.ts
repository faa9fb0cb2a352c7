/** Templates by name: those that come with the mesh, and those of users, which may replace them. */
import type { InjectionContext } from '../context.ts';
import { InjectionError } from '../injection_error.ts';
import type { JsonObject } from '../pod/shape.ts';
import { gatewayTemplate } from './gateway.ts';
import { grpcAgentTemplate } from './grpc_agent.ts';
import { grpcSimpleTemplate } from './grpc_simple.ts';
import { sidecarTemplate } from './sidecar.ts';

/** Gives the part that is laid over a pod. */
export type Template = (context: InjectionContext) => JsonObject;

/** Those that come with the mesh. */
export const builtInTemplates: ReadonlyMap<string, Template> = new Map<string, Template>([
  ['sidecar', sidecarTemplate as unknown as Template],
  ['gateway', gatewayTemplate as unknown as Template],
  ['grpc-simple', grpcSimpleTemplate as unknown as Template],
  ['grpc-agent', grpcAgentTemplate as unknown as Template],
]);

/** What decides which templates a pod gets. */
export interface TemplateChoice {
  readonly templates: ReadonlyMap<string, Template>;
  /** In force for pods that name none. Empty: `sidecar`. */
  readonly defaultTemplates: readonly string[];
  /** A name that stands for several. */
  readonly aliases: ReadonlyMap<string, readonly string[]>;
}

/** Most templates of one pod. */
const maxTemplates = 50;

/**
 * Names of the templates for a pod: annotation `inject.istio.io/templates`, or the defaults; aliases resolved once.
 * @throws InjectionError when one is not known
 */
export function chosenTemplates(
  { templates, defaultTemplates, aliases }: TemplateChoice,
  annotations: Readonly<Record<string, string>>,
): readonly (readonly [string, Template])[] {
  const own = annotations['inject.istio.io/templates'];
  const wanted =
    own === undefined
      ? defaultTemplates.length === 0
        ? ['sidecar']
        : defaultTemplates
      : own.split(',').map((name) => name.trim());
  const names = wanted.flatMap((name) => aliases.get(name) ?? [name]);
  if (names.length > maxTemplates)
    throw new InjectionError([`expected at most ${maxTemplates} templates, found ${names.length}`]);
  return names.map((name) => {
    const template = templates.get(name);
    if (template !== undefined) return [name, template] as const;
    const known = [...templates.keys()].sort().join(', ');
    throw new InjectionError([`requested template ${JSON.stringify(name)} not found; there are ${known}`]);
  });
}
