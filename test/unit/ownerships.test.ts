import { describe, expect, it } from '@jest/globals';
import { createGained } from '../../consumers/gained.ts';
import { serveOwnerships } from '../../consumers/ownerships.ts';
import type { Ownership } from '../../consumers/ports.ts';
import type { ServeEnd } from '../../consumers/serve.ts';

interface Owned {
  readonly ownership: Ownership;
  revoke(): void;
  recall(): void;
}

/** A source, and services that end when the test says so. */
function startServing(signal = new AbortController().signal) {
  const gained = createGained();
  const services: {
    readonly partition: number;
    readonly ownership: Ownership;
    readonly stopping: AbortSignal;
    readonly end: PromiseWithResolvers<ServeEnd>;
  }[] = [];
  const released: number[] = [];
  const refused = new Set<number>();
  let isOver = false;
  const source = { ownerships: gained.until, close: async () => {} };
  const serving = serveOwnerships(source, signal, (ownership, stopping) => {
    const end = Promise.withResolvers<ServeEnd>();
    services.push({ partition: ownership.partition, ownership, stopping, end });
    return end.promise;
  }).finally(() => {
    isOver = true;
  });
  // The test waits for it where it is looked at.
  serving.catch(() => undefined);
  return {
    ...{ gained, services, released, refused, serving },
    isOver: () => isOver,
    gain(partition: number): Owned {
      const [revocation, recall] = [new AbortController(), new AbortController()];
      const ownership = {
        ...{ stream: 't', partition, revoked: revocation.signal, recalled: recall.signal },
        async release() {
          released.push(partition);
          if (refused.has(partition)) throw new Error(`${partition} is not taken back`);
        },
      } as unknown as Ownership;
      gained.push(ownership);
      return { ownership, revoke: () => revocation.abort(), recall: () => recall.abort() };
    },
  };
}

/** All that can happen without another word of the test has happened. */
async function settled(): Promise<void> {
  for (let k = 0; k < 5; k++) await new Promise(setImmediate);
}

describe('what a process owns', () => {
  it('is served again only when its former service has ended', async () => {
    const { gain, services, released } = startServing();
    gain(0).revoke();
    const first = gain(0);
    await settled();
    // The one before was lost on the way.
    expect(services[0].ownership).toBe(first.ownership);
    first.revoke();
    gain(0);
    gain(1);
    await settled();
    expect(services.map(({ partition }) => partition)).toEqual([0, 1]);
    services[0].end.resolve('revoked');
    await settled();
    expect(services.map(({ partition }) => partition)).toEqual([0, 1, 0]);
    expect(released).toEqual([0]);
  });

  it('stays owned when it is read to its end, until all is; what is taken away meanwhile is not waited for', async () => {
    const { gain, services, released, serving } = startServing();
    const lost = gain(0);
    for (const partition of [1, 2]) gain(partition);
    await settled();
    services[1].end.resolve('ended');
    await settled();
    lost.revoke();
    services[0].end.resolve('revoked');
    await settled();
    expect([services[2].stopping.aborted, released]).toEqual([false, [0]]);
    services[2].end.resolve('ended');
    await serving;
    expect(released).toEqual([0]);
  });

  it('is given back when it is read to its end and another process waits for it, also once that one has asked', async () => {
    const { gain, services, released, serving } = startServing();
    const owned = [0, 1, 2].map(gain);
    await settled();
    services[0].end.resolve('ended');
    await settled();
    expect(released).toEqual([]);
    owned[0].recall();
    await settled();
    expect(released).toEqual([0]);
    owned[1].recall();
    services[1].end.resolve('ended');
    await settled();
    expect(released).toEqual([0, 1]);
    for (const one of owned.slice(0, 2)) one.revoke();
    expect(services[2].stopping.aborted).toBe(false);
    services[2].end.resolve('ended');
    await serving;
    expect(released).toEqual([0, 1]);
  });

  it('is waited for where all that there was went elsewhere', async () => {
    const { gain, services, isOver } = startServing();
    const lost = gain(0);
    await settled();
    lost.revoke();
    services[0].end.resolve('revoked');
    await settled();
    expect(isOver()).toBe(false);
  });

  it('is stopped all together when one service fails: what the first says is thrown once all have ended', async () => {
    const { gain, services, refused, released, isOver, serving } = startServing();
    refused.add(1);
    for (const partition of [0, 1]) gain(partition);
    await settled();
    expect(services[1].stopping.aborted).toBe(false);
    services[0].end.reject(new Error('first'));
    await settled();
    expect([services[1].stopping.aborted, isOver()]).toEqual([true, false]);
    services[1].end.resolve('stopped');
    await expect(serving).rejects.toThrow('first');
    expect(released).toEqual([0, 1]);
  });

  it('is stopped as well when it cannot be given back, or the source fails', async () => {
    const one = startServing();
    one.refused.add(0);
    one.gain(0);
    await settled();
    one.services[0].end.resolve('stopped');
    await expect(one.serving).rejects.toThrow('0 is not taken back');

    const other = startServing();
    other.gain(0);
    await settled();
    other.gained.fail(new Error('no source'));
    await settled();
    expect([other.services[0].stopping.aborted, other.isOver()]).toEqual([true, false]);
    other.services[0].end.resolve('stopped');
    await expect(other.serving).rejects.toThrow('no source');
  });

  it('is none where it is over before it begins, and no more once it is or nothing more can come', async () => {
    const before = startServing(AbortSignal.abort());
    before.gain(0);
    await before.serving;
    expect(before.services).toEqual([]);

    const stop = new AbortController();
    const stopped = startServing(stop.signal);
    await settled();
    stop.abort();
    stopped.gain(0);
    await stopped.serving;
    expect(stopped.services).toEqual([]);

    const ended = startServing();
    await settled();
    ended.gained.end();
    await ended.serving;
  });
});
