/** Localities from labels of nodes and pods, and from text. */
import { label } from '#api/well_known.ts';
import type { NodeBody } from '#config/kinds/kubernetes/types.ts';
import type { Resource } from '#config/resource.ts';
import type { Labels } from '../model/labels.ts';
import { type Locality, unknownLocality } from '../model/service.ts';

/** Reads `region/zone/subzone`; labels, which must not hold slashes, use dots. */
export function parseLocality(text: string | undefined): Locality {
  if (text === undefined || text === '') return unknownLocality;
  const parts = text.includes('/') ? text.split('/') : text.split('.');
  return { region: parts[0] ?? '', zone: parts[1] ?? '', subzone: parts[2] ?? '' };
}

/** Where a pod runs: its own label, or the labels of its node. */
export function podLocality(labels: Labels, node: Resource<NodeBody> | undefined): Locality {
  const own = labels['topology.istio.io/locality'] ?? labels[label.locality];
  if (own !== undefined && own !== '') return parseLocality(own);
  if (node === undefined) return unknownLocality;
  const nodeLabels = node.metadata.labels;
  return {
    // Clusters before 1.17 have the older names alone.
    region: nodeLabels[label.region] ?? nodeLabels['failure-domain.beta.kubernetes.io/region'] ?? '',
    zone: nodeLabels[label.zone] ?? nodeLabels['failure-domain.beta.kubernetes.io/zone'] ?? '',
    subzone: nodeLabels[label.subzone] ?? '',
  };
}
