import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { parse } from 'yaml';
import { injectManifest } from './kube_inject.ts';
import type { Container, Pod } from './pod/types.ts';
import { readSettings } from './settings.ts';

const { settings } = readSettings({});
const native = readSettings({ nativeSidecars: true }).settings;

function inject(text: string, of = settings): string {
  return injectManifest(text, 'x.yaml', of).text;
}

function pod(metadata: object, containers: readonly object[], more: object = {}): string {
  return JSON.stringify({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'a', ...metadata },
    spec: { containers, ...more },
  });
}

const app = { name: 'app', image: 'app:1' };

function read(text: string): Pod {
  return parse(text) as Pod;
}

function names(containers: readonly Container[] | undefined): string[] {
  return (containers ?? []).map(({ name }) => name);
}

function proxy(text: string): Container {
  const { spec } = read(text);
  const found = [...(spec?.containers ?? []), ...(spec?.initContainers ?? [])].find(
    ({ name }) => name === 'istio-proxy',
  );
  assert.ok(found !== undefined);
  return found;
}

describe('manifests', () => {
  test('other kinds keep their text, comments and order', () => {
    const service = '# the service\napiVersion: v1\nkind: Service # kept\nmetadata: {name: a}\n';
    const custom = 'apiVersion: example.com/v1\nkind: Odd\nspec: {yes: on}\n';
    const text = inject(`---\n${service}---\n${pod({}, [app])}\n---\n# nothing here\n---\n${custom}`);
    assert.ok(text.startsWith(`${service}---\n`), text);
    assert.ok(text.endsWith(`---\n${custom}`), text);
    assert.match(text, /name: istio-proxy/);
  });

  test('a manifest without workloads comes back as it was', () => {
    const text = 'kind: ConfigMap\napiVersion: v1\ndata: {"1": b, "0": a}\n';
    assert.equal(inject(text), text);
  });

  test('unknown fields of a workload stay', () => {
    const text = inject(pod({}, [{ ...app, future: { x: 1 } }], { alsoFuture: [1, { y: null }] }));
    const { spec } = parse(text) as { spec: { containers: { future?: unknown }[]; alsoFuture?: unknown } };
    assert.deepEqual(spec.containers[0]?.future, { x: 1 });
    assert.deepEqual(spec.alsoFuture, [1, { y: null }]);
  });

  test('a broken document is told with its line', () => {
    assert.throws(() => inject('a: 1\n---\nb: [\n'), { message: /^x\.yaml:[34]: / });
    assert.throws(() => inject('- a\n'), { message: 'x.yaml:1: expected an object of Kubernetes' });
  });

  test('a wrong workload is told with its name', () => {
    assert.throws(() => inject(pod({}, [{ name: 'app', env: 5 }])), {
      message: 'Pod a: spec.containers[0].env: expected a list, found 5',
    });
  });

  test('what is left out is told', () => {
    const refused = pod({ namespace: 'b', labels: { 'sidecar.istio.io/inject': 'false' } }, [app]);
    const { text, warnings } = injectManifest(refused, 'x.yaml', settings);
    assert.doesNotMatch(text, /istio-proxy/);
    assert.match(
      warnings[0] ?? '',
      /^Skipping injection because "b\/a" has sidecar injection disabled: label/,
    );
  });

  test('text that reads as something else stands in quotes', () => {
    const env = ['yes', 'on', '012', '1e3', '', '~', '*', 'a: b', '12:30', 'true', 'plain'].map(
      (value, index) => ({ name: `V${index}`, value }),
    );
    const text = inject(pod({}, [{ ...app, env }]));
    const { containers = [] } = read(text).spec ?? {};
    assert.deepEqual(
      containers[0]?.env?.map(({ value = '' }) => value),
      env.map(({ value }) => value),
    );
    assert.match(text, /value: "yes"\n/);
    assert.match(text, /value: '\*'\n/);
    assert.match(text, /value: plain\n/);
  });
});

describe('containers', () => {
  test('order: classic, held, native', () => {
    const init = { initContainers: [{ name: 'setup', image: 'x' }] };
    const classic = read(inject(pod({}, [app], init))).spec;
    assert.deepEqual(
      [names(classic?.containers), names(classic?.initContainers)],
      [
        ['app', 'istio-proxy'],
        ['setup', 'istio-init'],
      ],
    );
    const hold = { annotations: { 'proxy.istio.io/config': 'holdApplicationUntilProxyStarts: true' } };
    const held = read(inject(pod(hold, [app]))).spec;
    assert.deepEqual(names(held?.containers), ['istio-proxy', 'app']);
    assert.deepEqual(held?.containers?.[0]?.lifecycle?.postStart?.exec?.command, ['pilot-agent', 'wait']);
    const first = read(inject(pod({}, [app], init), native)).spec;
    assert.deepEqual(
      [names(first?.containers), names(first?.initContainers)],
      [['app'], ['istio-init', 'istio-proxy', 'setup']],
    );
  });

  test("the pod's own init container istio-proxy is the sidecar when that is native, else refused", () => {
    const init = { initContainers: [{ name: 'istio-proxy', image: 'own:1' }] };
    assert.throws(() => inject(pod({}, [app], init)), /spec\.initContainers: istio-proxy: .*nativeSidecar/);
    assert.equal(proxy(inject(pod({}, [app], init), native)).image, 'own:1');
    const annotations = { 'sidecar.istio.io/nativeSidecar': 'true' };
    assert.equal(proxy(inject(pod({ annotations }, [app], init))).image, 'own:1');
  });

  test('with the CNI plugin rules are only checked', () => {
    const { settings: cni } = readSettings({ values: 'pilot: {cni: {enabled: true}}' });
    const { spec, metadata } = read(inject(pod({}, [app], { initContainers: [{ name: 'setup' }] }), cni));
    const [validation] = spec?.initContainers ?? [];
    assert.equal(validation?.name, 'istio-validation');
    assert.deepEqual(validation?.args?.slice(-2), ['--run-validation', '--skip-rule-apply']);
    assert.deepEqual(validation?.securityContext?.capabilities, { drop: ['ALL'] });
    assert.equal(metadata?.annotations?.['sidecar.istio.io/interceptionMode'], 'REDIRECT');
  });

  test('NONE captures nothing, TPROXY runs as root', () => {
    const mode = (value: string): string =>
      inject(pod({ annotations: { 'sidecar.istio.io/interceptionMode': value } }, [app]));
    assert.deepEqual(names(read(mode('NONE')).spec?.initContainers), []);
    const { securityContext } = proxy(mode('TPROXY'));
    assert.deepEqual([securityContext?.runAsUser, securityContext?.capabilities?.add], [0, ['NET_ADMIN']]);
  });

  test('the user of an own proxy goes to the rules', () => {
    const own = { name: 'istio-proxy', image: 'auto', securityContext: { runAsUser: 2000 } };
    const text = inject(pod({}, [app, own]));
    const [init] = read(text).spec?.initContainers ?? [];
    assert.equal(init?.args?.[init.args.indexOf('-u') + 1], '2000');
    assert.equal(proxy(text).image, 'trysail/proxyv2:latest');
    assert.equal(proxy(text).securityContext?.runAsUser, 2000);
    assert.equal(inject(text), text);
  });

  test('volumes of users, as map and as list', () => {
    const annotations = {
      'sidecar.istio.io/userVolume': '{"one":{"emptyDir":{}}}',
      'sidecar.istio.io/userVolumeMount': '[{"name":"one","mountPath":"/one","readOnly":true}]',
    };
    const text = inject(pod({ annotations }, [app]));
    assert.ok(read(text).spec?.volumes?.some(({ name }) => name === 'one'));
    assert.deepEqual(proxy(text).volumeMounts?.at(-1), { name: 'one', mountPath: '/one', readOnly: true });
  });

  test('template gateway: a router and no capture', () => {
    const annotations = { 'inject.istio.io/templates': 'gateway' };
    const text = inject(
      pod({ annotations }, [{ name: 'istio-proxy', image: 'auto', ports: [{ containerPort: 80 }] }]),
    );
    assert.deepEqual(names(read(text).spec?.initContainers), []);
    assert.deepEqual(proxy(text).args?.slice(0, 2), ['proxy', 'router']);
    assert.deepEqual(
      proxy(text).ports?.map(({ containerPort }) => containerPort),
      [15_090, 80],
    );
    assert.equal(inject(text), text);
  });

  test('gRPC probes and lifecycle hooks go to the agent', () => {
    const probed = {
      ...app,
      ports: [{ name: 'grpc', containerPort: 9000 }],
      livenessProbe: { grpc: { port: 9000, service: 's' }, timeoutSeconds: 2 },
      readinessProbe: { httpGet: { port: 'nowhere' } },
    };
    const text = inject(pod({}, [probed]));
    const variable = proxy(text).env?.find(({ name }) => name === 'ISTIO_KUBE_APP_PROBERS');
    assert.equal(
      variable?.value,
      '{"/app-health/app/livez":{"grpc":{"port":9000,"service":"s"},"timeoutSeconds":2}}',
    );
    const [container] = read(text).spec?.containers ?? [];
    assert.deepEqual(container?.livenessProbe, {
      timeoutSeconds: 2,
      httpGet: { path: '/app-health/app/livez', port: 15_020 },
    });
    // A port that the container does not have stays the kubelet's matter.
    assert.deepEqual(container?.readinessProbe, { httpGet: { port: 'nowhere' } });
  });

  test('scrape settings go to the agent', () => {
    const annotations = {
      'prometheus.io/port': '9090',
      'prometheus.io/path': '/m',
      prometheus_io_scrape: 'true',
    };
    const text = inject(pod({ annotations }, [app]));
    const variable = proxy(text).env?.find(({ name }) => name === 'ISTIO_PROMETHEUS_ANNOTATIONS');
    assert.equal(variable?.value, '{"scrape":"true","path":"/m","port":"9090"}');
    const after = read(text).metadata?.annotations ?? {};
    assert.deepEqual(
      [after['prometheus.io/port'], after['prometheus.io/path'], after['prometheus_io_scrape']],
      ['15020', '/stats/prometheus', undefined],
    );
    assert.equal(inject(text), text);
  });

  test('switching between native and classic leaves nothing behind', () => {
    const classic = inject(pod({}, [app]));
    const { spec } = read(inject(inject(classic, native), settings));
    assert.deepEqual(
      [names(spec?.containers), names(spec?.initContainers)],
      [['app', 'istio-proxy'], ['istio-init']],
    );
  });
});

describe('templates of users', () => {
  const values = (template: string): string =>
    JSON.stringify({ sidecarInjectorWebhook: { templates: { own: template } } });
  const annotations = { 'inject.istio.io/templates': 'sidecar,own' };

  test('are laid over the pod', () => {
    const template =
      'spec:\n  containers:\n  {{- range .Spec.Containers }}\n  - name: {{ .Name }}\n    workingDir: /w\n  {{- end }}\n';
    const { settings: own } = readSettings({ values: values(template) });
    const { containers = [] } = read(inject(pod({ annotations }, [app]), own)).spec ?? {};
    assert.equal((containers[0] as unknown as { workingDir: string }).workingDir, '/w');
  });

  test('are told with template and line when they are wrong', () => {
    assert.throws(() => readSettings({ values: values('a: 1\nb: {{ nope }}') }), {
      message: 'template own:2: function "nope" is not defined',
    });
    const { settings: own } = readSettings({ values: values('a: 1\n{{ .Nope }}') });
    assert.throws(() => inject(pod({ annotations }, [app]), own), {
      message: /template own:2: cannot evaluate field Nope/,
    });
  });

  test('that are not known are told with those that are', () => {
    const wanted = { 'inject.istio.io/templates': 'nope' };
    assert.throws(() => inject(pod({ annotations: wanted }, [app])), {
      message: /requested template "nope" not found; there are gateway, grpc-agent, grpc-simple, sidecar/,
    });
  });

  test('aliases and defaults of the configuration', () => {
    const injectConfig =
      'defaultTemplates: [both]\naliases: {both: [sidecar, own]}\ntemplates:\n  own: |\n    metadata: {labels: {own: "1"}}\n';
    const { settings: own } = readSettings({ injectConfig });
    const { metadata, spec } = read(inject(pod({}, [app]), own));
    assert.equal(metadata?.labels?.['own'], '1');
    assert.deepEqual(names(spec?.containers), ['app', 'istio-proxy']);
  });
});
