/** Cost of a request's timeout: TimerWheel against setTimeout. Run: node bench/micro/timer_wheel.ts */
import { TimerWheel } from '#proxy/network/timer_wheel.ts';

const rounds = 1_000_000;
const wheel = new TimerWheel();
const callback = (_arg: object): void => {};
const target = {};

function measure(name: string, run: () => void): void {
  run();
  const start = process.hrtime.bigint();
  run();
  const ns = Number(process.hrtime.bigint() - start) / rounds;
  process.stdout.write(`${name.padEnd(28)} ${ns.toFixed(0)} ns\n`);
}

measure('wheel schedule + cancel', () => {
  for (let i = 0; i < rounds; i++) wheel.cancel(wheel.schedule(15_000, callback, target));
});
const idle = wheel.schedule(1000, callback, target);
measure('wheel refresh', () => {
  for (let i = 0; i < rounds; i++) wheel.refresh(idle, 1000);
});
wheel.cancel(idle);
measure('setTimeout + clearTimeout', () => {
  for (let i = 0; i < rounds; i++) clearTimeout(setTimeout(callback, 15_000, target));
});
