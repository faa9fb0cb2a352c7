/** How YAML is read: as kubectl does. */
import type { DocumentOptions, ParseOptions, SchemaOptions, Tags } from 'yaml';

/**
 * YAML 1.1 (`yes` and `on` are booleans, `012` is octal, `<<` merges), but, as in kubectl, without numbers of base 60
 * (`12:30`) and without timestamps: both stay strings.
 */
export function yamlOptions(): ParseOptions & DocumentOptions & SchemaOptions {
  return {
    version: '1.1',
    // Values beyond 2^53 are rounded, as by every JSON reader of JavaScript; BigInt would surprise all callers.
    intAsBigInt: false,
    prettyErrors: false,
    strict: true,
    uniqueKeys: true,
    stringKeys: false,
    customTags: (tags: Tags) =>
      tags.filter((tag) => {
        if (typeof tag === 'string') return tag !== 'timestamp' && tag !== 'intTime' && tag !== 'floatTime';
        return tag.tag !== 'tag:yaml.org,2002:timestamp' && !('format' in tag && tag.format === 'TIME');
      }),
  };
}
