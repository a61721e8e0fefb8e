import { describe, expect, it } from '@jest/globals';
import { type JournalParts, openReplayJournal } from '../../consumers/kinesis/replay-journal.ts';
import type { ReplaySign } from '../../consumers/kinesis/stored-letter.ts';
import type { ReplayMark, StoredLetter } from '../../consumers/stored-letter.ts';
import { clockAt } from '../support/clock.ts';

const letter = { stream: 's', partition: 1, offset: 7 } as StoredLetter;

/** A stream of dead letters in memory, and processes that replay from it. */
function letterStream() {
  const signs: ReplaySign[] = [];
  const marks: ReplayMark[] = [];
  const world = { now: 1_000_000 };
  const parts: JournalParts = {
    // Nobody wakes up to say that it is alive: as with a process that is stopped.
    clock: { ...clockAt(() => world.now), sleep: (_, signal) => new Promise((wake) => onAbort(signal!, wake)) },
    async say(sign) {
      const sequence = String(signs.length + 1);
      signs.push({ ...sign, sequence, at: world.now });
      return { shard: 'shardId-000000000000', sequence };
    },
    async putMarks(more) {
      marks.push(...more);
    },
    async read(_, visit) {
      for (const sign of signs) visit({ sign });
      for (const mark of marks) visit({ mark });
    },
  };
  return { world, said: () => signs.map(({ replay }) => replay), open: () => openReplayJournal(parts) };
}

function onAbort(signal: AbortSignal, wake: (value: boolean) => void): void {
  signal.addEventListener('abort', () => wake(false), { once: true });
}

const fenced = { code: 'FENCED' };

describe('the turn to replay from a stream', () => {
  it('is left to who has it, until that has ended or was silent for half a minute', async () => {
    const { world, open, said } = letterStream();
    const first = await open();
    world.now += 29_999;
    await expect(open()).rejects.toMatchObject(fenced);
    expect(said()).toEqual(['begun', 'begun', 'ended']);
    world.now += 1;
    const second = await open();
    await second.close(true);
    const third = await open();
    await third.close(true);
    await first.close(false);
  });

  it('is lost by who stood still, before another can have it, and comes back by nothing that it says', async () => {
    const { world, open, said } = letterStream();
    const first = await open();
    await first.intend([letter]);
    world.now += 14_999;
    first.demandTurn();
    world.now += 1;
    expect(first.demandTurn).toThrow('stood still for so long');
    await expect(first.intend([letter])).rejects.toMatchObject(fenced);
    await first.close(true);
    expect(said()).toEqual(['begun', 'putting']);
  });

  it('brings what is in doubt: what others were about to put back and have not marked', async () => {
    const { world, open } = letterStream();
    const first = await open();
    await first.intend([letter, { ...letter, offset: 8 }]);
    await first.mark([{ stream: 's', partition: 1, offset: 8, replayed: 'there' }]);
    await first.close(false);
    world.now += 30_000;
    const second = await open();
    expect([...second.doubts]).toEqual([['s:1:7', 1_000_000]]);
    expect([...second.marks]).toEqual([['s:1:8', 'there']]);
    await second.close(true);
  });
});
