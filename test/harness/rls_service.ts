/** A rate limit service (RLS v3): what it answers follows from the value of the descriptor `user`. */
import { setTimeout as sleep } from 'node:timers/promises';
import { create } from '@bufbuild/protobuf';
import { Code, ConnectError } from '@connectrpc/connect';
import {
  type RateLimitRequest,
  type RateLimitResponse,
  RateLimitResponse_Code,
  RateLimitResponse_RateLimit_Unit as Unit,
  RateLimitResponseSchema,
  RateLimitService,
} from '../../src/api/gen/envoy/service/ratelimit/v3/rls_pb.ts';
import { GrpcService } from './grpc_service.ts';

/** `over` is over its limit, `bare_over` without a word about it, `error` fails, `slow` takes 0.9 s; all else may pass. */
export class RlsService {
  readonly requests: RateLimitRequest[] = [];
  #grpc: GrpcService | undefined;

  static async start(): Promise<RlsService> {
    const service = new RlsService();
    service.#grpc = await GrpcService.start((router) =>
      router.rpc(RateLimitService.method.shouldRateLimit, (request) => service.#answer(request)),
    );
    return service;
  }

  get port(): number {
    return this.#grpc?.port ?? 0;
  }

  /** What was asked since the last call, each descriptor as `key=value key=value`. */
  take(): string[][] {
    return this.requests
      .splice(0)
      .map(({ descriptors }) =>
        descriptors.map(({ entries }) => entries.map(({ key, value }) => `${key}=${value}`).join(' ')),
      );
  }

  async stop(): Promise<void> {
    await this.#grpc?.stop();
  }

  async #answer(request: RateLimitRequest): Promise<RateLimitResponse> {
    this.requests.push(request);
    const user = request.descriptors[0]?.entries.find(({ key }) => key === 'user')?.value ?? '';
    if (user === 'error') throw new ConnectError('no', Code.Internal);
    if (user === 'slow') await sleep(900);
    const over = user.endsWith('over');
    const overallCode = over ? RateLimitResponse_Code.OVER_LIMIT : RateLimitResponse_Code.OK;
    if (user === 'bare_over') return create(RateLimitResponseSchema, { overallCode });
    const statuses = request.descriptors.map((_, i) => ({
      $typeName: 'envoy.service.ratelimit.v3.RateLimitResponse.DescriptorStatus' as const,
      code: overallCode,
      currentLimit: {
        $typeName: 'envoy.service.ratelimit.v3.RateLimitResponse.RateLimit' as const,
        name: i === 0 ? 'first' : '',
        requestsPerUnit: 10 * (i + 1),
        unit: i === 0 ? Unit.MINUTE : Unit.SECOND,
      },
      limitRemaining: over ? 0 : 7 - i,
      durationUntilReset: { $typeName: 'google.protobuf.Duration' as const, seconds: 30n, nanos: 0 },
    }));
    const header = (key: string, value: string) => ({
      $typeName: 'envoy.config.core.v3.HeaderValue' as const,
      key,
      value,
      rawValue: new Uint8Array(),
    });
    return create(RateLimitResponseSchema, {
      overallCode,
      statuses,
      responseHeadersToAdd: [header('x-rls-response', 'r')],
      requestHeadersToAdd: [header('x-rls-request', 'q')],
      dynamicMetadata: { seen: true },
      rawBody: over ? Buffer.from('slow down') : new Uint8Array(),
    });
  }
}
