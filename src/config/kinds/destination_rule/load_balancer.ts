/** Load balancing and locality. */
import type { Checker } from '../../schema/checker.ts';
import { duration } from '../../schema/duration.ts';
import { uint32, uint64 } from '../../schema/names.ts';
import { type Schema, boolean, list, map, number, object, oneOf, string } from '../../schema/schema.ts';
import type {
  ConsistentHashLB,
  HTTPCookie,
  HTTPCookieAttribute,
  LoadBalancerSettings,
  LocalityDistribute,
  LocalityFailover,
  LocalityLoadBalancerSetting,
  MagLev,
  RingHash,
  WarmupConfiguration,
  ZoneAwareLoadBalancerSetting,
} from './types.ts';

/** Envoy's bound of a Maglev table. */
const maxMaglevTable = 5_000_011;
/** Envoy's bound of a ring. */
const maxRing = 8_388_608;

/** Most localities of one setting: each is compared with each. */
const maxLocalities = 1024;

const consistentHash = object<ConsistentHashLB>(
  {
    httpHeaderName: string(),
    httpCookie: object<HTTPCookie>(
      {
        name: string(),
        path: string(),
        ttl: duration({ minMs: 0 }),
        attributes: list(
          object<HTTPCookieAttribute>({ name: string(), value: string() }, { required: ['name'] }),
        ),
      },
      { required: ['name'] },
    ),
    useSourceIp: boolean,
    httpQueryParameterName: string(),
    ringHash: object<RingHash>({ minimumRingSize: uint64 }),
    maglev: object<MagLev>(
      { tableSize: uint64 },
      {
        rule({ tableSize = 0 }, at) {
          if (tableSize > maxMaglevTable || (tableSize !== 0 && !isPrime(tableSize))) {
            at.mismatch('invalid_value', `a prime of at most ${maxMaglevTable}`, tableSize, ['tableSize']);
          }
        },
      },
    ),
    minimumRingSize: uint64,
  },
  {
    atMostOneOf: [
      ['httpHeaderName', 'httpCookie', 'useSourceIp', 'httpQueryParameterName'],
      ['ringHash', 'maglev'],
    ],
    rule(value, at) {
      if (value.minimumRingSize !== undefined) {
        at.warn('deprecated', 'minimumRingSize is deprecated: use ringHash.minimumRingSize', [
          'minimumRingSize',
        ]);
      }
      if ((value.ringHash?.minimumRingSize ?? value.minimumRingSize ?? 0) > maxRing) {
        at.error('out_of_range', `expected a ring of at most ${maxRing}`, ['ringHash']);
      }
    },
  },
);

function isPrime(value: number): boolean {
  if (value < 2) return false;
  for (let divisor = 2; divisor * divisor <= value; divisor++) if (value % divisor === 0) return false;
  return true;
}

const warmup = object<WarmupConfiguration>(
  {
    duration: duration(),
    minimumPercent: number({ min: 0, max: 100 }),
    aggression: number({ min: Number.MIN_VALUE, expected: 'a number greater than 0' }),
  },
  { required: ['duration'] },
);

const failover = object<LocalityFailover>({ from: string(), to: string() }, { rule: checkFailover });

function checkFailover({ from = '', to = '' }: LocalityFailover, at: Checker): void {
  if (from === to) at.error('conflict', 'from and to must be different regions', ['to']);
  for (const [field, region] of [
    ['from', from],
    ['to', to],
  ] as const) {
    if (/[*/]/.test(region))
      at.mismatch('invalid_value', 'a region, without zone and wildcard', region, [field]);
  }
}

/** `region/zone/subzone`: up to three parts, `*` only as the last. */
function isLocality(text: string): boolean {
  const parts = text.split('/');
  if (parts.length > 3 || text === '') return false;
  return parts.every(
    (part, index) => part !== '' && (!part.includes('*') || (part === '*' && index === parts.length - 1)),
  );
}

function checkLocalities(localities: readonly string[], at: Checker): void {
  for (const [index, locality] of localities.entries()) {
    if (!isLocality(locality)) at.mismatch('invalid_value', 'a locality such as "region/zone/*"', locality);
    const covers = (outer: string, inner: string): boolean =>
      outer === inner || `${inner}/`.startsWith(`${outer.replace(/\/?\*$/, '')}/`) || outer === '*';
    const earlier = localities.find(
      (other, position) => position < index && (covers(other, locality) || covers(locality, other)),
    );
    if (earlier !== undefined) at.error('duplicate', `locality ${locality} overlaps with ${earlier}`);
  }
}

const distribute = object<LocalityDistribute>(
  { from: string(), to: map(uint32) },
  {
    rule({ to = {} }, at) {
      at.within('to', () => checkLocalities(Object.keys(to), at));
      for (const [locality, weight] of Object.entries(to)) {
        if (weight < 1 || weight > 100)
          at.mismatch('out_of_range', 'a weight from 1 to 100', weight, ['to', locality]);
      }
      const total = Object.values(to).reduce((sum, weight) => sum + weight, 0);
      if (total !== 100) at.mismatch('invalid_value', 'weights with the sum of 100', total, ['to']);
    },
  },
);

const topologyLabels = [
  'topology.kubernetes.io/region',
  'topology.kubernetes.io/zone',
  'topology.istio.io/subzone',
];

function checkPriorities(
  value: { readonly failover?: readonly LocalityFailover[]; readonly failoverPriority?: readonly string[] },
  at: Checker,
): void {
  if ((value.failover ?? []).length === 0) return;
  for (const [index, label] of (value.failoverPriority ?? []).entries()) {
    if (topologyLabels.includes(label)) {
      at.error('mutually_exclusive', `failover cannot stand beside the topology label ${label}`, [
        'failoverPriority',
        index,
      ]);
    }
  }
}

/** `LocalityLoadBalancerSetting`. */
export const localityLbSetting: Schema<LocalityLoadBalancerSetting> = object<LocalityLoadBalancerSetting>(
  {
    distribute: list(distribute, { max: maxLocalities }),
    failover: list(failover),
    failoverPriority: list(string({ minLength: 1 })),
    enabled: boolean,
  },
  {
    rule(value, at) {
      const distributes = value.distribute ?? [];
      for (const field of ['failover', 'failoverPriority'] as const) {
        if (distributes.length > 0 && (value[field] ?? []).length > 0) {
          at.error('mutually_exclusive', `${field} cannot stand beside distribute`, [field]);
        }
      }
      at.within('distribute', () =>
        checkLocalities(
          distributes.map(({ from = '' }) => from),
          at,
        ),
      );
      checkPriorities(value, at);
    },
  },
);

/** `ZoneAwareLoadBalancerSetting`. */
export const zoneAwareLbSetting: Schema<ZoneAwareLoadBalancerSetting> = object<ZoneAwareLoadBalancerSetting>(
  {
    enabled: boolean,
    failover: list(failover),
    failoverPriority: list(string({ minLength: 1 })),
    minClusterSize: { ...uint32, check: checkMinClusterSize },
  },
  { rule: checkPriorities },
);

function checkMinClusterSize(value: unknown, at: Checker): void {
  if (value === 0) at.mismatch('out_of_range', 'a whole number of at least 1', value);
  else uint32.check(value, at);
}

/** `LoadBalancerSettings`. */
export const loadBalancer: Schema<LoadBalancerSettings> = object<LoadBalancerSettings>(
  {
    simple: oneOf('UNSPECIFIED', 'LEAST_CONN', 'RANDOM', 'PASSTHROUGH', 'ROUND_ROBIN', 'LEAST_REQUEST'),
    consistentHash,
    localityLbSetting,
    zoneAwareLbSetting,
    warmupDurationSecs: duration(),
    warmup,
  },
  {
    atMostOneOf: [['simple', 'consistentHash']],
    rule(value, at) {
      if (value.simple === 'LEAST_CONN')
        at.warn('deprecated', 'LEAST_CONN is deprecated: use LEAST_REQUEST', ['simple']);
      if (value.warmupDurationSecs !== undefined) {
        at.warn('deprecated', 'warmupDurationSecs is deprecated: use warmup', ['warmupDurationSecs']);
      }
      const canWarm = [undefined, 'UNSPECIFIED', 'ROUND_ROBIN', 'LEAST_REQUEST', 'LEAST_CONN'].includes(
        value.simple,
      );
      if (value.warmup !== undefined && (!canWarm || value.consistentHash !== undefined)) {
        at.warn('no_effect', 'warmup works with ROUND_ROBIN and LEAST_REQUEST only', ['warmup']);
      }
    },
  },
);
