/** How YAML is read: as kubectl does. */
import type { DocumentOptions, ParseOptions, ScalarTag, SchemaOptions, Tags } from 'yaml';

type Tag = Tags[number];

function isScalarTag(tag: Tag): tag is ScalarTag {
  return typeof tag === 'object' && 'test' in tag;
}

/** Scalars that YAML 1.1 knows and kubectl does not: numbers of base 60 (`12:30`) and timestamps stay strings. */
function isForeign(tag: Tag): boolean {
  if (typeof tag === 'string') return tag === 'timestamp' || tag === 'intTime' || tag === 'floatTime';
  return tag.tag === 'tag:yaml.org,2002:timestamp' || (isScalarTag(tag) && tag.format === 'TIME');
}

/** A float needs a digit: a lone `.` (as in `exportTo: [.]`) is a string. */
function withDigit(tag: Tag): Tag {
  return isScalarTag(tag) && tag.tag === 'tag:yaml.org,2002:float' && tag.test?.test('.') === true
    ? { ...tag, test: /^[-+]?(?:\.[0-9][0-9_]*|[0-9][0-9_]*\.[0-9_]*)$/ }
    : tag;
}

/** `0o17`, as YAML 1.2 writes octal numbers: kubectl reads them too. */
const octal: ScalarTag = {
  tag: 'tag:yaml.org,2002:int',
  default: true,
  test: /^0o[0-7]+$/,
  resolve: (text: string) => Number.parseInt(text.slice(2), 8),
};

/** YAML 1.1 (`yes` and `on` are booleans, `012` is octal, `<<` merges) with kubectl's differences. */
export function yamlOptions(): ParseOptions & DocumentOptions & SchemaOptions {
  return {
    version: '1.1',
    prettyErrors: false,
    // Warnings would go to standard error past our log; what they tell of shows itself as an error of the object.
    logLevel: 'error',
    uniqueKeys: true,
    customTags: (tags) =>
      tags
        .filter((tag) => !isForeign(tag))
        .map(withDigit)
        .concat(octal),
  };
}
