import { describe, expect, it } from '@jest/globals';
import type { Ownership } from '../../consumers/ports.ts';
import { keepServed } from '../../consumers/serve.ts';
import { WeirError } from '../../runtime/errors.ts';

/** A partition that another process may wait for, served as the test says. */
function startServing(serveOnce: (recall: AbortController, stop: AbortController) => Promise<void>) {
  const [recall, stop, revocation] = [new AbortController(), new AbortController(), new AbortController()];
  const ownership = { stream: 't', partition: 0, revoked: revocation.signal, recalled: recall.signal } as Ownership;
  const log = { info: () => {}, warn: () => {} };
  let served = 0;
  const parts = {
    config: { source: {} },
    ownership,
    engine: { recovering: () => {} },
    clock: {
      // Waits for ever, unless it is told not to.
      sleep: (_ms: number, signal: AbortSignal) =>
        new Promise((resolve) => {
          if (signal.aborted) resolve(false);
          signal.addEventListener('abort', () => resolve(false));
        }),
    },
    log,
    readiness: { setReady: () => {} },
  } as unknown as Parameters<typeof keepServed>[0];
  const end = keepServed(parts, stop.signal, () => {
    served++;
    return serveOnce(recall, stop);
  });
  return { recall, stop, end, served: () => served };
}

const away = () => new WeirError('BROKER', 'it is away');

describe('a partition that another process waits for', () => {
  it('is left once what is under way is done', async () => {
    const { end } = startServing(async (recall) => recall.abort());
    expect(await end).toBe('stopped');
  });

  it('is left as it is where that fails: the other begins where this one would begin again', async () => {
    const { end, served } = startServing(async (recall) => {
      recall.abort();
      throw away();
    });
    expect(await end).toBe('stopped');
    expect(served()).toBe(1);
  });

  it('is left while it pauses', async () => {
    const { end, recall } = startServing(() => Promise.reject(away()));
    setImmediate(() => recall.abort());
    expect(await end).toBe('stopped');
  });

  it('says what a person must mend, and what a process that ends could not do', async () => {
    const broken = startServing(async (recall) => {
      recall.abort();
      throw new WeirError('CONFIG', 'it is wrong');
    });
    await expect(broken.end).rejects.toThrow('it is wrong');
    const stopped = startServing(async (recall, stop) => {
      recall.abort();
      stop.abort();
      throw away();
    });
    await expect(stopped.end).rejects.toThrow('it is away');
  });
});
