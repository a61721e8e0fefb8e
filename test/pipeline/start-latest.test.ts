import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from '@jest/globals';
import type { Source } from '../../consumers/ports.ts';
import { WeirError } from '../../runtime/errors.ts';
import {
  createMemoryStream,
  type MemoryStream,
  memoryJob,
  openStateIn,
  runInMemory,
  until,
} from '../support/memory-stream.ts';

const job = memoryJob({
  source: { kafka: { brokers: ['nowhere:1'], topic: 'tx', group: 'memory', start: 'latest' } },
});
const folder = mkdtempSync(join(tmpdir(), 'weir-latest-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function append(stream: MemoryStream, ...ids: string[]): void {
  for (const id of ids) stream.append(0, { id, ts: 1e12 + stream.logs[0].length, amount: 1, card: 'c' });
}

/** One owner's life, until `done` says so. */
async function own(
  stream: MemoryStream,
  name: string,
  during: (running: Promise<unknown>) => Promise<void>,
  source: Source = stream.source(10),
): Promise<void> {
  const stopping = new AbortController();
  const store = await openStateIn(join(folder, name), job, 'latest');
  const running = runInMemory(job, {
    store,
    source,
    sink: stream.sink(),
    signal: stopping.signal,
  });
  try {
    await during(running);
    stopping.abort();
    await running;
  } finally {
    await store.close();
  }
}

const scored = (stream: MemoryStream) => stream.events.map((event) => event.transaction_id);

describe('a partition that begins at the end of its log', () => {
  it('leaves nothing out that comes before the first batch is published', async () => {
    const stream = createMemoryStream();
    append(stream, 'old-1', 'old-2');
    let isFirst = true;
    await own(stream, 'publish', async () => {
      await until(() => stream.positions[0] !== undefined);
      expect(stream.positions[0]).toBe(2);
      stream.hooks.onPublish = () => {
        if (!isFirst) return;
        isFirst = false;
        append(stream, 'b');
        throw new WeirError('BROKER', 'the broker is away');
      };
      append(stream, 'a');
      await until(() => stream.events.length === 2);
    });
    expect(scored(stream)).toEqual(['a', 'b']);
  });

  it('leaves nothing out that comes while nobody owns it', async () => {
    const stream = createMemoryStream();
    append(stream, 'old-1', 'old-2');
    await own(stream, 'unowned', () => until(() => stream.positions[0] !== undefined));
    append(stream, 'a');
    await own(stream, 'unowned', () => until(() => stream.events.length === 1));
    expect(scored(stream)).toEqual(['a']);
  });

  it('begins at its first record when the stream got it later', async () => {
    const stream = createMemoryStream();
    append(stream, 'a', 'b');
    const added: Source = {
      ...stream.source(10),
      async *ownerships(signal) {
        for await (const ownership of stream.source(10).ownerships(signal)) yield { ...ownership, isAdded: true };
      },
    };
    await own(stream, 'added', () => until(() => stream.events.length === 2), added);
    expect(scored(stream)).toEqual(['a', 'b']);
  });

  it('is refused when its position is lost, and what was read is known: something would be left out', async () => {
    const stream = createMemoryStream();
    await own(stream, 'lost', async () => {
      await until(() => stream.positions[0] !== undefined);
      append(stream, 'a', 'b');
      await until(() => stream.events.length === 2);
    });
    append(stream, 'c');
    stream.positions[0] = undefined;
    await expect(own(stream, 'lost', async (running) => void (await running))).rejects.toMatchObject({
      code: 'CONFIG',
      message: expect.stringMatching(/tx:0 has been read to offset 2 .*weir offsets reset --to-offset 2 --partition 0/),
    });
    expect(stream.positions[0]).toBeUndefined();
    stream.positions[0] = 2;
    await own(stream, 'lost', () => until(() => stream.events.length === 3));
    expect(scored(stream)).toEqual(['a', 'b', 'c']);
  });
});
