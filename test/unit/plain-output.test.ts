import { describe, expect, it } from '@jest/globals';
import { openPlainOutput } from '../../consumers/plain-output.ts';
import { WeirError } from '../../runtime/errors.ts';
import { ownedPartition } from '../support/owned-partition.ts';

const nothing = { events: [], deadLetters: [] };

/** An output whose checkpoints end when the test says so. */
function openWithHeldCheckpoints() {
  const begun: { position: number; end(): void; fail(error: Error): void }[] = [];
  const output = openPlainOutput(
    {
      ...ownedPartition('input'),
      checkpoint: (position) =>
        new Promise((end, fail) => {
          begun.push({ position, end, fail });
        }),
    },
    async () => {},
  );
  return { output, begun };
}

describe('the at-least-once output', () => {
  it('does not wait for checkpoints, has one under way at a time, and passes over what is overtaken', async () => {
    const { output, begun } = openWithHeldCheckpoints();
    for (const position of [1, 2, 3]) await output.publish(nothing, position);
    expect(begun.map(({ position }) => position)).toEqual([1]);
    const synced = output.sync!();
    begun[0].end();
    await new Promise(setImmediate);
    expect(begun.map(({ position }) => position)).toEqual([1, 3]);
    // What is sent after the call of sync does not hold it up.
    await output.publish(nothing, 4);
    begun[1].end();
    await synced;
    expect(begun.map(({ position }) => position)).toEqual([1, 3, 4]);
    let isClosed = false;
    const closed = output.close().then(() => {
      isClosed = true;
    });
    await new Promise(setImmediate);
    expect(isClosed).toBe(false);
    begun[2].end();
    await closed;
  });

  it('is unusable once a checkpoint failed, and says why', async () => {
    const { output, begun } = openWithHeldCheckpoints();
    const fenced = new WeirError('FENCED', 'the partition belongs to another process');
    await output.publish(nothing, 1);
    begun[0].fail(fenced);
    await expect(output.sync!()).rejects.toBe(fenced);
    await expect(output.publish(nothing, 2)).rejects.toBe(fenced);
    await expect(output.position()).rejects.toBe(fenced);
    await output.close();
    expect(begun).toHaveLength(1);
  });
});
