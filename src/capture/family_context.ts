import type { Family } from './cidr_list.ts';
import type { CaptureConfig } from './config.ts';

/** What a family's rules are built from. */
export interface FamilyContext {
  readonly config: CaptureConfig;
  readonly family: Family;
  /** The application's loopback. */
  readonly loopback: string;
  /** Source address of the proxy's connections to the application. */
  readonly passthroughSource: string;
}
