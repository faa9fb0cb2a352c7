/** What the control plane serves: one generator per type URL. */
import { cds } from './cds.ts';
import { eds } from './eds.ts';
import type { Generator } from './generator.ts';
import { lds } from './lds.ts';
import { nds } from './nds.ts';
import { rds } from './rds.ts';

/** In the order in which a push sends them: what is referred to comes before what refers to it. */
export const generators: readonly Generator[] = [
  // Clusters first: nothing can point to a cluster that is not there.
  cds,
  // Endpoints right after, or new clusters would stand without hosts.
  eds,
  // Listeners name routes, and ask for them once they are there.
  lds,
  rds,
  // No proxy waits for names; the agent's DNS does.
  nds,
];
