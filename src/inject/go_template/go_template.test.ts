import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { parse, run } from '../templates/render.ts';
import type { Value } from './values.ts';

const data: Value = {
  Name: 'web',
  Empty: '',
  Count: 3,
  Zero: 0,
  Ratio: 1.5,
  Yes: true,
  Nothing: null,
  List: ['a', 'b', 'c'],
  Map: { second: '2', first: '1' },
  Nested: { deep: { er: 'x' } },
  People: [{ name: 'ann', age: 7 }, { name: 'bob' }],
};

function render(source: string): string {
  return run(parse(source, 't'), data);
}

/** Template and output, by what it shows. */
const outputs: Readonly<Record<string, readonly (readonly [string, string])[]>> = {
  'text and fields': [
    ['plain', 'plain'],
    ['{{ .Name }}!', 'web!'],
    ['{{.Nested.deep.er}}', 'x'],
    ['{{ .Missing }}', '<no value>'],
    ['{{ .Nothing }}', '<nil>'],
    ['{{ .List }} {{ .Map }} {{ .Ratio }} {{ .Yes }}', '[a b c] map[first:1 second:2] 1.5 true'],
    ['{{ "a\\tb\\u00e9" }}{{ `raw\\n` }}{{ \'a\' }}', 'a\tbéraw\\n97'],
    ['{{ 0x10 }} {{ 1_000 }} {{ -2 }} {{ 1e3 }}', '16 1000 -2 1000'],
  ],
  'blanks and comments': [
    ['a  {{- .Name -}}  b', 'awebb'],
    ['a\n{{/* said\nby the way */ -}}\nb', 'a\nb'],
    ['{{- /* one */ -}} x', 'x'],
    ['{{ -1 }}', '-1'],
  ],
  variables: [
    ['{{ $x := .Name }}{{ $x }}', 'web'],
    ['{{ $x := 1 }}{{ if true }}{{ $x = 2 }}{{ end }}{{ $x }}', '2'],
    ['{{ $x := 1 }}{{ if true }}{{ $x := 2 }}{{ $x }}{{ end }}{{ $x }}', '21'],
    ['{{ with .Nested }}{{ $.Name }}{{ .deep.er }}{{ end }}', 'webx'],
    ['{{ $m := .Nested }}{{ $m.deep.er }}', 'x'],
  ],
  conditions: [
    ['{{ if .Empty }}a{{ else if .Zero }}b{{ else if .Name }}c{{ else }}d{{ end }}', 'c'],
    [
      '{{ if and .Yes .Name }}y{{ end }}{{ if or .Empty .Zero }}n{{ end }}{{ if not .Empty }}y{{ end }}',
      'yy',
    ],
    ['{{ or .Empty "other" }} {{ and .Name .Count }}', 'other 3'],
    // The second argument is not looked at.
    ['{{ if and .Empty (index .List 9) }}{{ end }}ok', 'ok'],
    ['{{ with .Empty }}a{{ else with .Name }}{{ . }}{{ end }}', 'web'],
    [
      '{{ eq .Name "x" "web" }} {{ ne 1 2 }} {{ lt 1 2 }} {{ ge "b" "a" }} {{ le 2 2 }} {{ gt 1 2 }}',
      'true true true true true false',
    ],
  ],
  loops: [
    ['{{ range .List }}{{ . }};{{ end }}', 'a;b;c;'],
    ['{{ range $i, $x := .List }}{{ $i }}{{ $x }}{{ end }}', '0a1b2c'],
    ['{{ range $k, $v := .Map }}{{ $k }}={{ $v }} {{ end }}', 'first=1 second=2 '],
    ['{{ range .Empty2 }}x{{ else }}none{{ end }}', 'none'],
    ['{{ range .List }}{{ if eq . "b" }}{{ continue }}{{ end }}{{ . }}{{ end }}', 'ac'],
    ['{{ range .List }}{{ if eq . "b" }}{{ break }}{{ end }}{{ . }}{{ end }}', 'a'],
    ['{{ range 3 }}{{ . }}{{ end }}', '012'],
    ['{{ range .People }}{{ .name }}{{ with .age }}({{ . }}){{ end }} {{ end }}', 'ann(7) bob '],
    [
      '{{ $all := list }}{{ range .List }}{{ $all = append $all (upper .) }}{{ end }}{{ join "," $all }}',
      'A,B,C',
    ],
  ],
  'pipelines and parentheses': [
    ['{{ .Name | upper | quote }}', '"WEB"'],
    ['{{ printf "%s-%d" .Name (len .List) }}', 'web-3'],
    ['{{ (index .People 0).name }}', 'ann'],
    ['{{ index .Nested "deep" "er" }} {{ index .List 1 }}', 'x b'],
    ['{{ len (slice .List 1) }} {{ slice .Name 1 2 }}', '2 e'],
    ['{{ .Name | printf "%q" }}', '"web"'],
  ],
  definitions: [
    ['{{ define "x" }}<{{ . }}>{{ end }}{{ template "x" .Name }}', '<web>'],
    ['{{ template "late" .Count }}{{ define "late" }}{{ . }}{{ end }}', '3'],
    ['{{ define "y" }}a\nb{{ end }}{{ include "y" . | indent 2 }}', '  a\n  b'],
    ['{{ block "z" .Name }}[{{ . }}]{{ end }}', '[web]'],
    ['{{ render "{{ .Name }}" }}{{ tpl "{{ . }}" .Count }}', 'web3'],
  ],
  printf: [
    [
      '{{ printf "%v %5s|%-5s|%05d %x %t %.2f %%" .Name "a" "b" 42 255 true 1.234 }}',
      'web     a|b    |00042 ff true 1.23 %',
    ],
    [
      '{{ printf "%d" "x" }} {{ printf "%s" }} {{ printf "a" 1 }}',
      '%!d(string=x) %!s(MISSING) a%!(EXTRA int=1)',
    ],
    ['{{ print 1 2 "x" 3 }}', '1 2x3'],
  ],
  'sprig: text': [
    ['{{ "Hello" | trunc 3 }} {{ "a-b" | replace "-" "_" }} {{ "  x " | trim }}', 'Hel a_b x'],
    ['{{ trimSuffix "-" "a-" }}{{ trimPrefix "v" "v1" }}{{ trimAll "*" "*x*" }}', 'a1x'],
    ['{{ contains "b" "abc" }} {{ hasPrefix "a" "abc" }} {{ hasSuffix "c" "abc" }}', 'true true true'],
    ['{{ "a,b" | splitList "," | join "+" }} {{ (split "," "a,b")._1 }}', 'a+b b'],
    ['{{ "x" | nindent 2 }}', '\n  x'],
    ['{{ squote "it" }} {{ title "a b" }} {{ repeat 2 "ab" }} {{ kebabcase "aBc" }}', "'it' A B abab a-bc"],
    ['{{ regexMatch "^[a-z]+$" .Name }} {{ regexReplaceAll "e(.)" "weeb" "<${1}>" }}', 'true w<e>b'],
    ['{{ b64enc "hi" }} {{ b64dec "aGk=" }} {{ sha256sum "" | trunc 8 }}', 'aGk= hi e3b0c442'],
  ],
  'sprig: collections': [
    ['{{ .Missing | default "d" }} {{ default "d" .Name }} {{ coalesce .Empty .Name }}', 'd web web'],
    ['{{ ternary "a" "b" true }} {{ empty .Empty }} {{ kindOf .List }}', 'a true slice'],
    [
      '{{ first .List }}{{ last .List }}{{ rest .List | len }} {{ has "b" .List }} {{ without .List "a" }}',
      'ac2 true [b c]',
    ],
    [
      '{{ $d := dict "a" 1 "b" 2 }}{{ $d.a }}{{ get $d "b" }}{{ hasKey $d "c" }}{{ keys $d }}',
      '12false[a b]',
    ],
    [
      '{{ (merge (dict "a" 1) (dict "a" 2 "b" 3)).a }}{{ (mergeOverwrite (dict "a" 1) (dict "a" 2)).a }}',
      '12',
    ],
    ['{{ dig "deep" "er" "none" .Nested }} {{ dig "deep" "no" "none" .Nested }}', 'x none'],
    [
      '{{ add 1 2 3 }} {{ sub 5 2 }} {{ mul 2 3 }} {{ div 7 2 }} {{ mod 7 2 }} {{ max 1 5 2 }} {{ min 3 2 }}',
      '6 3 6 3 1 5 2',
    ],
    [
      '{{ until 3 }} {{ untilStep 1 7 2 }} {{ uniq (list 1 1 2) }} {{ atoi "12" | add1 }}',
      '[0 1 2] [1 3 5] [1 2] 13',
    ],
  ],
  'JSON, YAML and Istio': [
    ['{{ toJson .Map }} {{ (fromJson "{\\"a\\":1}").a }}', '{"first":"1","second":"2"} 1'],
    ['{{ toYaml .Map }}', "first: '1'\nsecond: '2'"],
    [
      '{{ valueOrDefault .Empty "x" }} {{ isset .Map "first" }} {{ excludeInboundPort 15020 "1,2" }}',
      'x true 1,2,15020',
    ],
    [
      '{{ toLower "AB" }} {{ directory "/a/b.pem" }} {{ env "HOME" "none" }} {{ toJsonMap "a" 1 }}',
      'ab /a/ none {"a":"1"}',
    ],
    [
      '{{ appendMultusNetwork "" "istio-cni" }} {{ omitNil (dict "a" nil "b" 1) | toJson }}',
      'istio-cni {"b":1}',
    ],
  ],
};

for (const [name, examples] of Object.entries(outputs))
  describe(`Go templates: ${name}`, () => {
    for (const [source, expected] of examples) test(source, () => assert.equal(render(source), expected));
  });

/** Template, and the message with its line. */
const errors: readonly (readonly [string, RegExp])[] = [
  ['a\n{{ nope .Name }}', /^template t:2: function "nope" is not defined$/],
  ['{{ if .Name }}', /^template t:1: \{\{if\}\} does not end$/],
  ['{{ .Name', /^template t:1: an action does not end/],
  ['{{ end }}', /unexpected \{\{end\}\}/],
  ['{{ else }}', /unexpected \{\{else\}\}/],
  ['{{ }}{{ | }}', /expected a value/],
  ['{{ .Name ? }}', /unexpected "\?" in an action/],
  ['{{ "x" | "y" }}', /expected a function after \|/],
  ['\n\n{{ .Nothing.x }}', /^template t:3: nil pointer evaluating \.x$/],
  ['{{ .Name.x }}', /cannot evaluate field x in a value of type string/],
  ['{{ index .List 9 }}', /^template t:1: index: index 9 is out of range/],
  ['{{ $y }}', /variable \$y is not defined/],
  ['{{ template "no" }}', /template "no" is not defined/],
  ['{{ fail "said so" }}', /fail: said so/],
  ['{{ break }}', /break outside range/],
  ['{{ eq 1 "1" }}', /incompatible types for comparison/],
  ['{{ div 1 0 }}', /division by zero/],
  ['{{ define "x" }}', /template "x" does not end/],
  ['{{ "\\q" }}', /unknown escape/],
];

describe('Go templates: errors', () => {
  for (const [source, message] of errors)
    test(JSON.stringify(source), () => assert.throws(() => render(source), { message }));
});

/** Texts that would run for ever, or fill memory. */
const bombs: readonly (readonly [string, RegExp])[] = [
  ['{{ define "x" }}{{ template "x" . }}{{ end }}{{ template "x" . }}', /nested templates/],
  ['{{ range until 100000 }}{{ range until 100000 }}x{{ end }}{{ end }}', /steps/],
  ['{{ repeat 100000000 "x" }}', /cannot repeat/],
  ['{{ range until 10000 }}{{ repeat 1000 "x" }}{{ end }}', /characters of output/],
  ['{{ until 1000000 }}', /elements/],
  ['{{ indent 10000000 "x" }}', /cannot indent/],
  [
    '{{ render "{{ render .Self }}" }}{{ define "y" }}{{ end }}{{ $s := "{{ tpl . . }}" }}{{ tpl $s $s }}',
    /./,
  ],
  [`${'('.repeat(0)}{{ ${'('.repeat(200)}1${')'.repeat(200)} }}`, /levels of nesting/],
  [`${'{{ if true }}'.repeat(200)}${'{{ end }}'.repeat(200)}`, /levels of nesting/],
];

describe('Go templates: bounds', () => {
  for (const [source, message] of bombs)
    test(source.slice(0, 60), () => assert.throws(() => render(source), { message }));
});
