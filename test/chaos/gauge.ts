import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import type { Member } from './fleet.ts';
import { until } from './until.ts';

/** The most that a process has held since it was watched. */
export interface Peaks {
  /** Memory outside of the heap that is in use, MiB: the bytes of records that were fetched and are not done with. */
  readonly externalMiB: number;
}

/** With it a process can be told to collect its garbage: what is left is what it holds. */
export const inspected = { NODE_OPTIONS: '--inspect=127.0.0.1:0' };

const lookMs = 250;
const mib = 1 << 20;

/** Looks at a process again and again, each time after its garbage has been collected. It must be `inspected`. */
export async function watchPeaks({ weir }: Member): Promise<{ stop(): Promise<Peaks> }> {
  const inspector = await connectInspector(weir.stderr);
  const peaks = { externalMiB: 0 };
  let isStopped = false;
  const look = async () => {
    peaks.externalMiB = Math.max(peaks.externalMiB, (await inspector.external()) / mib);
  };
  const watching = (async () => {
    while (!isStopped) {
      const lookedAt = performance.now();
      await look();
      // The slower the machine, the longer garbage is collected: most of the time has to be left to the process.
      await delay(Math.max(lookMs, 9 * (performance.now() - lookedAt)));
    }
  })();
  // Thrown where it is stopped: the process may have ended before.
  watching.catch(() => undefined);
  return {
    async stop() {
      isStopped = true;
      await watching;
      await look();
      inspector.close();
      return peaks;
    },
  };
}

async function connectInspector(stderr: () => string) {
  const url = await until('the process can be inspected', async () => /ws:\/\/\S+/.exec(stderr())?.[0]);
  const socket = new WebSocket(url);
  await once(socket, 'open');
  return {
    /** Memory outside of the heap, bytes, at a moment at which there is no garbage. */
    async external(): Promise<number> {
      const answered = new Promise<{ readonly value: number }>((resolve, reject) => {
        socket.onmessage = ({ data }) => {
          const { id, result, error } = JSON.parse(data);
          if (error !== undefined) reject(new Error(`asking the inspector: ${data}`));
          else if (id === asked.length) resolve(result.result);
        };
        socket.onclose = () => reject(new Error('the process cannot be inspected any more'));
      });
      for (const [index, request] of asked.entries()) socket.send(JSON.stringify({ id: index + 1, ...request }));
      return (await answered).value;
    },
    close: () => socket.close(),
  };
}

/** Sent at once, so that nothing is allocated in between; buffers are freed behind a collection, and for sure before the next begins. */
const asked = [
  { method: 'HeapProfiler.collectGarbage' },
  { method: 'HeapProfiler.collectGarbage' },
  { method: 'Runtime.evaluate', params: { expression: 'process.memoryUsage().external' } },
];
