import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import type { Source } from '../../consumers/ports.ts';
import type { StateStore } from '../../features/store.ts';
import { WeirError } from '../../runtime/errors.ts';
import { createReadiness, type Readiness } from '../../runtime/http.ts';
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
  folder = mkdtempSync(join(tmpdir(), 'weir-job-'));
  store = await openStateIn(folder, job, 'job');
});
afterEach(async () => {
  await store.close();
  rmSync(folder, { recursive: true, force: true });
});

function streamOf(records: number): MemoryStream {
  const stream = createMemoryStream();
  for (let n = 0; n < records; n++) stream.append(0, { id: `t${n}`, ts: 1e12 + n, amount: 1, card: 'c' });
  return stream;
}

/** Runs the job; gives what ends it. */
function start(
  stream: MemoryStream,
  readiness: Readiness,
  of: Partial<Parameters<typeof runInMemory>[1]> = {},
): () => Promise<void> {
  const stopping = new AbortController();
  const running = runInMemory(job, {
    store,
    source: stream.source(20),
    sink: stream.sink(),
    signal: stopping.signal,
    surroundings: { ...quietSurroundings(), readiness },
    ...of,
  });
  return async () => {
    stopping.abort();
    await running;
  };
}

describe('a job', () => {
  it('ends only when its partitions have, also when the source fails', async () => {
    const stream = streamOf(10);
    const inner = stream.source(10);
    const refused = new WeirError('BROKER', 'the group does not let this user in any more');
    let fail = () => {};
    const failing: Source = {
      ...inner,
      async *ownerships(signal) {
        const { value } = await inner.ownerships(signal)[Symbol.asyncIterator]().next();
        yield value!;
        await new Promise<void>((resolve) => {
          fail = resolve;
        });
        throw refused;
      },
    };
    let isPublished = false;
    stream.hooks.onPublish = async () => {
      fail();
      await new Promise((resolve) => setTimeout(resolve, 30));
      isPublished = true;
    };
    const running = runInMemory(job, {
      store,
      source: failing,
      sink: stream.sink(),
      signal: new AbortController().signal,
    });
    await expect(running).rejects.toBe(refused);
    expect(isPublished).toBe(true);
    expect(stream.positions[0]).toBe(10);
    expect(await store.fence('tx:0')).toBe(10);
  });

  it('is ready again when the partition that waited for the store has gone elsewhere', async () => {
    const stream = streamOf(20);
    const readiness = createReadiness([], () => {});
    let isAway = false;
    const shaky: StateStore = {
      ...store,
      flush: async (...args) => {
        if (isAway) throw new WeirError('STORE', 'away');
        await store.flush(...args);
      },
    };
    stream.hooks.onRead = (_, position) => {
      if (position === 10) isAway = true;
    };
    const source = stream.source(10);
    const stop = start(stream, readiness, { store: shaky, source });
    await until(() => Object.values(readiness.troubles()).includes('away'));
    source.revoke(0);
    await until(() => Object.keys(readiness.troubles()).length === 0);
    await stop();
  });

  it('is not ready between the tries of what fails again and again, and is once that works', async () => {
    const stream = streamOf(20);
    const readiness = createReadiness([], () => {});
    let failures = 0;
    const seen = new Set<string>();
    stream.hooks.onRead = () => {
      if (failures > 0) seen.add(Object.values(readiness.troubles()).join());
    };
    stream.hooks.onPublish = () => {
      if (++failures < 3) throw new WeirError('BROKER', 'no such topic');
    };
    const stop = start(stream, readiness);
    await until(() => stream.positions[0] === 20);
    await until(() => Object.keys(readiness.troubles()).length === 0);
    expect([...seen].slice(0, 2)).toEqual(['no such topic', '']);
    await stop();
  });

  it('is ready again at the end of the log, where nothing is left that could fail', async () => {
    const stream = streamOf(20);
    const readiness = createReadiness([], () => {});
    let failures = 0;
    stream.hooks.onRead = (_, position) => {
      if (position === 20 && ++failures === 1) throw new WeirError('BROKER', 'away');
    };
    const stop = start(stream, readiness);
    await until(() => Object.values(readiness.troubles()).includes('away'));
    await until(() => Object.keys(readiness.troubles()).length === 0);
    await stop();
  });

  it('marks what partitions share as stale while one of them is behind what is committed', async () => {
    const stream = createMemoryStream(2);
    for (let n = 0; n < 40; n++) stream.append(0, { id: `t${n}`, ts: 1e12 + n, amount: 1, card: 'a', shop: 's' });
    stream.positions[0] = 40;
    stream.positions[1] = 0;
    stream.append(1, { id: 'early', ts: 1e12 + 100, amount: 1, card: 'b', shop: 's' });
    stream.hooks.onRead = async (partition) => {
      while (partition === 0 && stream.events.length === 0) await new Promise((resolve) => setTimeout(resolve, 2));
    };
    const stopping = new AbortController();
    // With no patience nobody waits for anybody.
    const running = runInMemory(memoryJob({ alignment: { patience_ms: 0 } }), {
      store,
      source: stream.source(10),
      sink: stream.sink(),
      signal: stopping.signal,
    });
    await until(() => stream.events.length === 1);
    expect(stream.events[0]).toMatchObject({
      features: { 'shop.count.90d': 1 },
      feature_state: { 'shop.count.90d': 'stale' },
    });
    expect(Object.keys(stream.events[0].feature_state ?? {})).toEqual(['shop.count.90d']);
    // The next event of the partition itself: it has caught up.
    stream.append(0, { id: 'late', ts: 1e12 + 101, amount: 1, card: 'a', shop: 's' });
    await until(() => stream.events.length === 2);
    stream.append(1, { id: 'next', ts: 1e12 + 102, amount: 1, card: 'b', shop: 's' });
    await until(() => stream.events.length === 3);
    stopping.abort();
    await running;
    expect(stream.events[2].features).toMatchObject({ 'shop.count.90d': 43 });
    expect(stream.events[2].feature_state ?? {}).toEqual({});
  });
});
