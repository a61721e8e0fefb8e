import { createVirtualTime, type VirtualTime } from '../../sim/clock.ts';
import { createNetwork, type Network, type NetworkParts } from '../../sim/network.ts';
import { createChance } from '../../sim/random.ts';

/** A simulated world without faults whose time passes by itself, for suites that know nothing of it. */
export interface RunningTime {
  readonly time: VirtualTime;
  readonly network: Network;
  stop(): void;
}

/** @param strike what becomes of requests. */
export function startTime(strike: NetworkParts['strike'] = () => undefined): RunningTime {
  const time = createVirtualTime(createChance(1, 'order'));
  const none = () => undefined;
  const network = createNetwork({ time, chance: createChance(1, 'network'), strike, crash: none, pause: none });
  let isRunning = true;
  async function run(): Promise<void> {
    while (isRunning) if (!(await time.step())) await new Promise((resolve) => setImmediate(resolve));
  }
  void run();
  return {
    time,
    network,
    stop() {
      isRunning = false;
    },
  };
}
