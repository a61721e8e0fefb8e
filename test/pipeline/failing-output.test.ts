import { existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { openScorer } from '../../consumers/components.ts';
import { createFileSink } from '../../consumers/file/sink.ts';
import type { Ownership, Sink, Source } from '../../consumers/ports.ts';
import type { StateStore } from '../../features/store.ts';
import { WeirError } from '../../runtime/errors.ts';
import type { Scorer } from '../../scoring/scorer.ts';
import {
  createMemoryStream,
  type MemoryStream,
  memoryJob,
  openStateIn,
  quietSurroundings,
  runInMemory,
  until,
} from '../support/memory-stream.ts';

const job = memoryJob();
let folder: string;
let store: StateStore;
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'weir-output-'));
  store = await openStateIn(join(folder, 'state'), job, 'output');
});
afterEach(async () => {
  await store.close();
  rmSync(folder, { recursive: true, force: true });
});

function streamOf(records: number): MemoryStream {
  const stream = createMemoryStream();
  for (let n = 0; n < records; n++) stream.append(0, { id: `t${n}`, ts: 1e12 + n, amount: 1, card: `c${n % 500}` });
  return stream;
}

describe('an output that cannot be made safe', () => {
  it('ends the job when it is a file: nothing is waited for that cannot come', async () => {
    const stream = streamOf(20_000);
    const path = join(folder, 'risk.jsonl');
    const sink = createFileSink({ path, dead_letters: join(folder, 'dead.jsonl') }, { job: 'output' });
    // In the way of the next checkpoint, as soon as none is being written.
    let isInTheWay = false;
    stream.hooks.onRead = (_, position) => {
      if (isInTheWay || position < 5_000 || existsSync(`${path}.checkpoint.next`)) return;
      mkdirSync(`${path}.checkpoint.next`);
      isInTheWay = true;
    };
    const source = stream.source(1_000);
    const running = runInMemory(job, { store, source, sink, signal: new AbortController().signal });
    await expect(running).rejects.toMatchObject({ code: 'OUTPUT' });
    await sink.close().catch(() => {});
  });

  it('begins again with another output when the broker did not take the position', async () => {
    const stream = streamOf(50);
    const inner = stream.sink();
    let opened = 0;
    const sink: Sink = {
      ...inner,
      open: async (ownership) => {
        const isFirst = ++opened === 1;
        const output = await inner.open(ownership);
        const sync = async () => {
          if (isFirst) throw new WeirError('BROKER', 'the position cannot be committed');
        };
        return { ...output, sync };
      },
    };
    const stopping = new AbortController();
    const running = runInMemory(job, { store, source: stream.source(10), sink, signal: stopping.signal });
    await until(() => stream.positions[0] === 50);
    let fence: number | undefined;
    while (fence !== 50) {
      await new Promise((resolve) => setTimeout(resolve, 2));
      fence = await store.fence('tx:0');
    }
    stopping.abort();
    await running;
    expect(opened).toBe(2);
    expect(new Set(stream.events.map((event) => event.transaction_id)).size).toBe(50);
  });
});

describe('a model that fails', () => {
  it('has its partition begin again: the others and the process go on', async () => {
    const stream = streamOf(50);
    const surroundings = quietSurroundings();
    const inner = await openScorer(job, surroundings);
    let runs = 0;
    const scorer: Scorer = {
      ...inner,
      async score(rows) {
        if (++runs <= 2) throw new WeirError('MODEL', 'no memory left');
        return inner.score(rows);
      },
    };
    const stopping = new AbortController();
    const parts = { store, source: stream.source(10), sink: stream.sink(), scorer };
    const running = runInMemory(job, { ...parts, signal: stopping.signal, surroundings });
    await until(() => stream.positions[0] === 50);
    stopping.abort();
    await running;
    expect(stream.events.map((event) => event.transaction_id)).toEqual(Array.from({ length: 50 }, (_, n) => `t${n}`));
    for (const event of stream.events) expect(event.features['card.count.90d']).toBe(1);
  });
});

/** The source, where what comes before `earliest` was deleted. */
function cutSource(inner: Source, earliest: () => number): Source {
  const cut = (ownership: Ownership): Ownership => ({
    ...ownership,
    async read(position) {
      const from = Math.max(position, earliest());
      const batch = await ownership.read(from);
      return from === position ? batch : { ...batch, lost: { from: position, to: from } };
    },
  });
  return {
    ...inner,
    async *ownerships(signal) {
      for await (const ownership of inner.ownerships(signal)) yield cut(ownership);
    },
  };
}

describe('records that were deleted before they were read', () => {
  it('count once however often what follows them cannot be published, and are missing in its features all the same', async () => {
    const stream = streamOf(50);
    let tries = 0;
    stream.hooks.onPublish = () => {
      if (++tries < 3) throw new WeirError('BROKER', 'away');
    };
    // Before the second try two more are deleted.
    const source = cutSource(stream.source(10), () => (tries === 0 ? 3 : 5));
    const stopping = new AbortController();
    const surroundings = quietSurroundings();
    const running = runInMemory(job, { store, source, sink: stream.sink(), signal: stopping.signal, surroundings });
    await until(() => stream.positions[0] === 50);
    stopping.abort();
    await running;
    const lost = (await surroundings.metrics.text()).match(/^weir_lost_records_total\{.*\} (\d+)$/m);
    expect(lost?.[1]).toBe('5');
    expect(stream.events).toHaveLength(45);
    for (const event of stream.events) expect(event.feature_state).toMatchObject({ 'card.count.90d': 'incomplete' });
  });
});
