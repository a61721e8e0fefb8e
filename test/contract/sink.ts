import { afterEach, describe, expect, it } from '@jest/globals';
import type { DeadLetter, Output, OutputEvent, Ownership, Sink } from '../../consumers/ports.ts';

/** How a sink adapter is put to the test. */
export interface SinkHarness {
  create(): Promise<SinkFixture>;
  /** False where a subscriber does not see the record key. */
  readonly hasKeys: boolean;
  /** False where a batch published and not yet committed can be seen twice (at-least-once). */
  readonly isExactlyOnce: boolean;
}

export interface SinkFixture {
  /** A sink as a new process would make it, for the same destination. */
  open(): Sink;
  /** The input partition that outputs are opened for. */
  readonly ownership: Ownership;
  /** What a subscriber has seen by now, in order. */
  events(): Promise<readonly SeenEvent[]>;
  deadLetters(): Promise<readonly SeenDeadLetter[]>;
  remove(): Promise<void>;
}

export interface SeenEvent {
  readonly key: string | null;
  readonly id: string;
  readonly time: string;
  /** The JSON text, or a text that parses to the same. */
  readonly data: string;
}

export interface SeenDeadLetter {
  /** The original bytes in hex. */
  readonly value: string | null;
  readonly reason: string;
  readonly message: string;
  readonly stream: string;
  readonly partition: number;
  readonly offset: number;
}

/** What the port promises, whatever the adapter. */
export function describeSinkContract(name: string, harness: SinkHarness): void {
  describe(`${name} keeps the sink contract`, () => {
    let closing: (() => Promise<void>)[] = [];
    afterEach(async () => {
      for (const close of closing.reverse()) await close();
      closing = [];
    });

    async function create(): Promise<SinkFixture> {
      const fixture = await harness.create();
      closing.push(() => fixture.remove());
      return fixture;
    }

    const seenAs = ({ key, data, ...seen }: OutputEvent) => ({
      ...seen,
      key: harness.hasKeys ? (key?.toString('utf8') ?? null) : null,
      data: JSON.parse(data.toString('utf8')),
    });

    async function open(fixture: SinkFixture): Promise<{ sink: Sink; output: Output }> {
      const sink = fixture.open();
      closing.push(() => sink.close());
      return { sink, output: await sink.open(fixture.ownership) };
    }

    it('has no position before anything is published', async () => {
      const { output } = await open(await create());
      expect(await output.position()).toBeUndefined();
    });

    it('publishes events in order and keeps the position', async () => {
      const fixture = await create();
      const { output } = await open(fixture);
      await output.publish({ events: [event(1), event(2, null)], deadLetters: [] }, 3);
      await output.publish({ events: [event(3)], deadLetters: [] }, 4);
      const seen = await fixture.events();
      expect(seen.map(parsed)).toEqual([seenAs(event(1)), seenAs(event(2, null)), seenAs(event(3))]);
      expect(await fixture.deadLetters()).toEqual([]);
      expect(await output.position()).toBe(4);
    });

    it('keeps dead letters whole, with reason and source position', async () => {
      const fixture = await create();
      const { output } = await open(fixture);
      const letters = [deadLetter(5, Buffer.from([0, 255, 10, 123, 128])), deadLetter(6, null)];
      await output.publish({ events: [event(4)], deadLetters: letters }, 7);
      expect(await fixture.deadLetters()).toEqual(
        letters.map(({ key: _, timestamp: __, ...letter }) => ({
          ...letter,
          value: letter.value?.toString('hex') ?? null,
        })),
      );
      expect((await fixture.events()).map(({ id }) => id)).toEqual([event(4).id]);
    });

    it('moves the position without any record', async () => {
      const fixture = await create();
      const { output } = await open(fixture);
      await output.publish({ events: [], deadLetters: [] }, 12);
      await output.publish({ events: [], deadLetters: [] }, 13);
      expect(await output.position()).toBe(13);
      expect(await fixture.events()).toEqual([]);
    });

    it('publishes large batches whole and in order', async () => {
      const fixture = await create();
      const { output } = await open(fixture);
      const events = Array.from({ length: 2500 }, (_, index) => event(index));
      await output.publish({ events, deadLetters: [] }, 2500);
      expect((await fixture.events()).map(({ id }) => id)).toEqual(events.map(({ id }) => id));
      expect(await output.position()).toBe(2500);
    });

    it('keeps the position over processes, and each event once', async () => {
      const fixture = await create();
      for (let run = 0; run < 3; run++) {
        const { sink, output } = await open(fixture);
        expect(await output.position()).toBe(run === 0 ? undefined : run * 2);
        await output.publish({ events: [event(run * 2), event(run * 2 + 1)], deadLetters: [] }, run * 2 + 2);
        await output.close();
        await sink.close();
      }
      expect((await fixture.events()).map(({ id }) => id)).toEqual([0, 1, 2, 3, 4, 5].map((n) => event(n).id));
    });

    it('opens again on the same sink after a close', async () => {
      const fixture = await create();
      const { sink, output } = await open(fixture);
      await output.publish({ events: [event(0)], deadLetters: [] }, 1);
      await output.close();
      const again = await sink.open(fixture.ownership);
      expect(await again.position()).toBe(1);
      await again.publish({ events: [event(1)], deadLetters: [] }, 2);
      expect((await fixture.events()).map(({ id }) => id)).toEqual([event(0).id, event(1).id]);
    });

    it('closes twice without harm', async () => {
      const { sink, output } = await open(await create());
      await output.close();
      await output.close();
      await sink.close();
      await sink.close();
    });

    if (harness.isExactlyOnce) {
      it('fences the former owner: nothing of it can be seen any more', async () => {
        const fixture = await create();
        const zombie = (await open(fixture)).output;
        await zombie.publish({ events: [event(0)], deadLetters: [] }, 1);
        const owner = (await open(fixture)).output;
        expect(await owner.position()).toBe(1);
        const late = zombie.publish({ events: [event(1)], deadLetters: [deadLetter(2, null)] }, 3);
        await expect(late).rejects.toMatchObject({ code: 'FENCED' });
        await owner.publish({ events: [event(1)], deadLetters: [] }, 2);
        expect((await fixture.events()).map(({ id }) => id)).toEqual([event(0).id, event(1).id]);
        expect(await fixture.deadLetters()).toEqual([]);
        expect(await owner.position()).toBe(2);
      });
    }
  });
}

/** An event of the input offset `n`. */
export function event(n: number, key: string | null = `key-${n % 5}`): OutputEvent {
  return {
    key: key === null ? null : Buffer.from(key),
    id: `input:0:${n}`,
    time: new Date(1_700_000_000_000 + n).toISOString(),
    data: Buffer.from(JSON.stringify({ n, text: 'größer' })),
  };
}

export function deadLetter(offset: number, value: Buffer | null): DeadLetter {
  const at = { stream: 'input', partition: 0, offset, timestamp: 1_700_000_000_000 + offset };
  return { key: Buffer.from('k'), value, reason: 'not-json', message: 'größer', ...at };
}

function parsed({ data, ...seen }: SeenEvent) {
  return { ...seen, data: JSON.parse(data) };
}
