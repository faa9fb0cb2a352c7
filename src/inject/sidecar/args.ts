/** Arguments of the proxy container: those of `pilot-agent`. */
import { type InjectionContext, annotation } from '../context.ts';

/** `proxy sidecar --domain …` or, for a gateway, `proxy router --domain …`. */
export function proxyArgs(context: InjectionContext, role: 'sidecar' | 'router' = 'sidecar'): string[] {
  const { global } = context.values;
  const args = ['proxy', role, '--domain', `$(POD_NAMESPACE).svc.${global.proxy.clusterDomain}`];
  if (context.compatibility === '1.8') args.push('--serviceCluster', serviceCluster(context));
  args.push(
    `--proxyLogLevel=${annotation(context, 'sidecar.istio.io/logLevel', global.proxy.logLevel)}`,
    `--proxyComponentLogLevel=${annotation(context, 'sidecar.istio.io/componentLogLevel', global.proxy.componentLogLevel)}`,
  );
  if (context.compatibility === '1.8') {
    if (global.sts.servicePort !== 0) args.push(`--stsPort=${global.sts.servicePort}`);
    if (global.logAsJson) args.push('--log_as_json');
    const { concurrency = 2 } = context.proxyConfig;
    if (concurrency > 0) args.push('--concurrency', String(concurrency));
    return args;
  }
  args.push(
    `--log_output_level=${annotation(context, 'sidecar.istio.io/agentLogLevel', global.logging.level)}`,
  );
  if (global.sts.servicePort !== 0) args.push(`--stsPort=${global.sts.servicePort}`);
  if (global.logAsJson) args.push('--log_as_json');
  if (global.proxy.outlierLogPath !== '') args.push(`--outlierLogPath=${global.proxy.outlierLogPath}`);
  return args;
}

/** The name under which 1.8 reports a workload: label `app`, or the owner's name. */
function serviceCluster({ metadata, owner }: InjectionContext): string {
  const app = metadata.labels?.['app'] ?? '';
  if (app !== '') return `${app}.$(POD_NAMESPACE)`;
  return `${owner.name === '' ? 'istio-proxy' : owner.name}.${owner.namespace === '' ? 'default' : owner.namespace}`;
}
