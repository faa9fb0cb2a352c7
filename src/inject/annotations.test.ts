import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { checkAnnotations, parseBool } from './annotations.ts';

const traffic = 'traffic.sidecar.istio.io';

/** Annotation, values that are right, values that are wrong. */
const cases: readonly (readonly [string, readonly string[], readonly string[]])[] = [
  [
    `${traffic}/includeOutboundIPRanges`,
    ['*', '', '10.0.0.0/8, fd00::/8'],
    ['10.0.0.0', '*,10.0.0.0/8', '10.0.0.0/33', 'x/8'],
  ],
  [`${traffic}/excludeOutboundIPRanges`, ['', '10.0.0.1/32'], ['*', '10.0.0.0/8,']],
  [`${traffic}/includeInboundPorts`, ['*', '', '80,443'], ['80,*', '65536', '80-90', '80,,90']],
  [`${traffic}/excludeInboundPorts`, ['', '22'], ['*', 'ssh', '-1']],
  [`${traffic}/includeOutboundPorts`, ['*', '3306'], ['mysql']],
  [`${traffic}/excludeOutboundPorts`, ['3306,3307'], ['*', '70000']],
  [`${traffic}/excludeInterfaces`, ['net1', 'net1,net2'], ['a b', 'interface-with-a-long-name', 'a/b']],
  [`${traffic}/kubevirtInterfaces`, ['net1'], ['a,b c']],
  ['istio.io/reroute-virtual-interfaces', ['net1,net2'], ['../net']],
  ['status.sidecar.istio.io/port', ['0', '15020'], ['http', '65536', '']],
  ['readiness.status.sidecar.istio.io/initialDelaySeconds', ['0', '30'], ['-1', '1.5', 'x']],
  ['readiness.status.sidecar.istio.io/periodSeconds', ['15'], ['4294967296']],
  ['readiness.status.sidecar.istio.io/failureThreshold', ['4'], ['many']],
  ['readiness.status.sidecar.istio.io/applicationPorts', ['', '80'], ['*']],
  ['sidecar.istio.io/proxyCPU', ['100m', '2', '0.5'], ['100m\n', 'half', '']],
  ['sidecar.istio.io/proxyMemory', ['128Mi', '1e3'], ['128 Mi']],
  ['sidecar.istio.io/proxyCPULimit', ['2'], ['2"']],
  ['sidecar.istio.io/proxyMemoryLimit', ['1Gi'], ['1GiB']],
  ['sidecar.istio.io/interceptionMode', ['REDIRECT', 'TPROXY', 'NONE'], ['redirect', '']],
  ['sidecar.istio.io/rewriteAppHTTPProbers', ['true', 'False', '1'], ['yes', '']],
  ['sidecar.istio.io/capNetBindService', ['true'], ['on']],
  ['sidecar.istio.io/nativeSidecar', ['false'], ['no']],
  ['prometheus.istio.io/merge-metrics', ['false'], ['never']],
  [
    'sidecar.istio.io/userVolume',
    ['{}', '{"a":{"emptyDir":{}}}', '[{"name":"a","emptyDir":{}}]'],
    ['x', '[{}]', '{"a":1}'],
  ],
  ['sidecar.istio.io/userVolumeMount', ['{"a":{"mountPath":"/a"}}'], ['[1]']],
  ['sidecar.istio.io/bootstrapOverride', ['istio-custom'], ['Custom_Config', '']],
  ['sidecar.istio.io/proxyImage', ['example.com/proxy:1'], ['a\nb']],
  ['sidecar.istio.io/logLevel', ['debug', 'warning,misc:error'], ['debug\r']],
];

for (const [annotation, right, wrong] of cases)
  describe(`annotation ${annotation}`, () => {
    for (const value of right)
      test(`${JSON.stringify(value)} is right`, () =>
        assert.deepEqual(checkAnnotations({ [annotation]: value }), []));
    for (const value of wrong)
      test(`${JSON.stringify(value)} is wrong`, () => {
        const [message = ''] = checkAnnotations({ [annotation]: value });
        // The message names the annotation, the value, and what is allowed.
        assert.ok(message.startsWith(`annotation ${annotation}`), message);
        assert.ok(message.includes(JSON.stringify(value)) && message.includes('expected'), message);
      });
  });

test('other annotations are not looked at', () =>
  assert.deepEqual(checkAnnotations({ 'example.com/x': '\n' }), []));

test('booleans are those of Go', () => {
  assert.deepEqual(
    [parseBool('T'), parseBool('0'), parseBool('yes'), parseBool(undefined)],
    [true, false, undefined, undefined],
  );
});
