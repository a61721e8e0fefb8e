import { expect, it } from '@jest/globals';
import { createAlignment } from '../../consumers/alignment.ts';
import type { Decoder } from '../../consumers/decode/decoder.ts';
import { type PartitionObserver, runPartition } from '../../consumers/partition.ts';
import type { Output, Ownership, RawBatch } from '../../consumers/ports.ts';
import { createFlusher } from '../../features/flusher.ts';
import { featureStates } from '../../features/rows.ts';
import type { StateStore } from '../../features/store.ts';
import type { Scorer } from '../../scoring/scorer.ts';
import { clockAt } from '../support/clock.ts';
import { batchOf, createProcess, delayedTerminals, heldStore, minute } from '../support/feature-process.ts';

const feature = 'terminal.count.1h.delay-2h';
const column = delayedTerminals.names.indexOf(feature);

const observer: PartitionObserver = {
  stage: (_, work) => work(),
  restored() {},
  published() {},
  lost() {},
  flushed() {},
  degraded() {},
  recovering() {},
  recovered() {},
  skewed() {},
  held() {},
};

const output: Output = { position: async () => 0, publish: async () => {}, close: async () => {} };

const raw: RawBatch = { values: [null], keys: [null], offsets: [130], timestamps: [0], next: 131, end: 132 };

const ownership: Ownership = {
  stream: 't',
  partition: 0,
  partitions: 2,
  format: { type: 'json' },
  revoked: new AbortController().signal,
  range: async () => ({ earliest: 0, end: 132 }),
  read: async () => raw,
  checkpointed: async () => 0,
  checkpoint: async () => {},
  release: async () => {},
};

/** One event of terminal x. */
const batchAt = (offset: number, card: string) => batchOf([offset], card, 'x');
const createOne = (store: StateStore) => createProcess(store, 100, undefined, delayedTerminals);
type Process = ReturnType<typeof createOne>;

/** An event at minute 1, and the frontier at minute 200. */
async function doOther({ engine, apply }: Process): Promise<void> {
  engine.gain('t:1', 2);
  await apply('t:1', batchAt(1, 'c'), feature);
  engine.frontiers.say('t:1', 200 * minute, 'reading');
}

/** Runs partition 0, of which one event at minute 130 is read, until that is scored. */
function runOne({ engine }: Process, store: StateStore) {
  const clock = clockAt(() => 0);
  const stop = new AbortController();
  const values: string[] = [];
  const scorer: Scorer = {
    width: delayedTerminals.names.length,
    score: async ({ count }) => new Float32Array(count),
    async decide(_, { values: of, states }, probabilities) {
      values.push(`${of[column]} ${featureStates[states[column]]}`);
      stop.abort();
      return { probabilities, decisions: new Uint8Array(1), events: [] };
    },
    close: async () => {},
  };
  const flusher = createFlusher({
    engine,
    store,
    partition: 't:0',
    clock,
    intervalMs: 1_000,
    onFlushed() {},
    onTrouble() {},
    wait: async () => false,
  });
  const alignment = createAlignment({
    config: { within: '1m', patience_ms: 60_000 },
    allowedLatenessMs: 0,
    flushIntervalMs: 1_000,
    ownership,
    engine,
    flusher,
    clock,
    observer,
    leaving: stop.signal,
  });
  const decoder: Decoder = {
    layout: { fields: [], entities: [], kinds: [], deduplication: undefined },
    decode: () => ({ batch: batchAt(130, 'd'), keys: [null], deadLetters: [] }),
  };
  const parts = { ownership, output, decoder, engine, scorer, flusher, alignment, observer, fence: async () => 0 };
  const running = runPartition({ ...parts, start: 'earliest' }, false, stop.signal).finally(flusher.abandon);
  return { running, values };
}

it('lets a batch wait again when another partition, which it relied on, is lost before the batch is loaded', async () => {
  const { store, held, hold } = heldStore();
  const [here, elsewhere] = [createOne(store), createOne(store)];
  await doOther(here);
  here.engine.gain('t:0', 2);
  hold(true);
  const { running, values } = runOne(here, store);
  await until(() => {
    // What it asks of histories and frontiers may be answered.
    while (held.length > 0 && !held[0].requests.some(({ type }) => type === 'card')) held.shift()!.answer();
    return held.length > 0;
  });
  // Taken away at once: the event at minute 1 is stored by nobody.
  here.engine.lose('t:1');
  hold(false);
  for (const { answer } of held.splice(0)) answer();
  await settled();
  expect(values).toEqual([]);

  await doOther(elsewhere);
  await elsewhere.flush('t:1');
  here.tick(1_000);
  await running;
  expect(values).toEqual(['1 fresh']);
});

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise(setImmediate);
}

/** All that can happen without another word of the test has happened. */
async function settled(): Promise<void> {
  for (let k = 0; k < 50; k++) await new Promise(setImmediate);
}
