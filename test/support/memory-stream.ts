import { type CompiledJob, compileJob } from '../../consumers/compile.ts';
import { openScorer, type Surroundings } from '../../consumers/components.ts';
import { jobConfig } from '../../consumers/config.ts';
import { runParts } from '../../consumers/job.ts';
import type { Output, OutputBatch, Ownership, RawBatch, Sink, Source } from '../../consumers/ports.ts';
import { createEmbeddedStore } from '../../features/embedded/store.ts';
import type { StateStore } from '../../features/store.ts';
import { systemClock } from '../../runtime/clock.ts';
import { WeirError } from '../../runtime/errors.ts';
import { createReadiness } from '../../runtime/http.ts';
import { createLogger } from '../../runtime/log.ts';
import { createMetrics } from '../../runtime/metrics.ts';
import type { Scorer } from '../../scoring/scorer.ts';

/** A risk event as the tests look at it. */
export interface SeenEvent {
  readonly transaction_id: string;
  readonly features: Readonly<Record<string, number>>;
  readonly feature_state?: Readonly<Record<string, string>>;
}

/** The job's state in a folder. */
export function openStateIn(path: string, job: CompiledJob, name: string): Promise<StateStore> {
  const options = { job: name, recipe: job.set.recipe, clock: systemClock, retentionMs: () => 90 * 86_400_000 };
  return createEmbeddedStore({ path }, options);
}

/** Topics in memory: logs, what is committed, and what is published; for tests that have to fail at a certain place. */
export interface MemoryStream {
  /** Records by partition. */
  readonly logs: Buffer[][];
  readonly positions: (number | undefined)[];
  readonly events: SeenEvent[];
  append(partition: number, ...records: object[]): void;
  /** @param own partitions that are yielded; all unless stated. */
  source(batchRecords: number, own?: readonly number[]): MemorySource;
  sink(): Sink;
  hooks: {
    /** In each read, which then gives its records whatever becomes of the ownership here. */
    onRead: (partition: number, position: number) => Promise<void> | void;
    /** Before each publish; may throw. */
    onPublish: (partition: number, position: number) => Promise<void> | void;
    onPosition: (partition: number) => void;
  };
}

export interface MemorySource extends Source {
  revoke(partition: number): void;
}

export function createMemoryStream(partitions = 1): MemoryStream {
  const logs: Buffer[][] = Array.from({ length: partitions }, () => []);
  const positions: (number | undefined)[] = logs.map(() => undefined);
  const events: SeenEvent[] = [];
  const hooks: MemoryStream['hooks'] = { onRead: () => {}, onPublish: () => {}, onPosition: () => {} };

  function ownershipOf(partition: number, batchRecords: number, revoked: AbortSignal): Ownership {
    const log = logs[partition];
    return {
      stream: 'tx',
      partition,
      partitions,
      format: { type: 'json' },
      revoked,
      range: async () => ({ earliest: 0, end: log.length }),
      async read(position) {
        if (revoked.aborted) throw new WeirError('FENCED', 'the partition is not owned any more');
        await hooks.onRead(partition, position);
        const values = log.slice(position, position + batchRecords);
        if (values.length === 0) await new Promise((resolve) => setTimeout(resolve, 5));
        return batchOf(values, position, log.length);
      },
      checkpointed: async () => undefined,
      checkpoint: async () => {},
      release: async () => {},
    };
  }

  return {
    logs,
    positions,
    events,
    hooks,
    append(partition, ...records) {
      for (const record of records) logs[partition].push(Buffer.from(JSON.stringify(record)));
    },
    source(batchRecords, own = [...logs.keys()]) {
      const revocations = logs.map(() => new AbortController());
      return {
        revoke: (partition) => revocations[partition].abort(),
        async *ownerships(signal) {
          for (const partition of own) yield ownershipOf(partition, batchRecords, revocations[partition].signal);
          if (!signal.aborted) await new Promise((resolve) => signal.addEventListener('abort', resolve));
        },
        async close() {},
      };
    },
    sink: () => ({
      open: async ({ partition }): Promise<Output> => ({
        async position() {
          hooks.onPosition(partition);
          return positions[partition];
        },
        async publish(batch: OutputBatch, position: number) {
          await hooks.onPublish(partition, position);
          events.push(...batch.events.map(({ data }) => JSON.parse(data.toString()) as SeenEvent));
          positions[partition] = position;
        },
        async close() {},
      }),
      async close() {},
    }),
  };
}

function batchOf(values: readonly Buffer[], position: number, end: number): RawBatch {
  return {
    values,
    keys: values.map(() => null),
    offsets: values.map((_, index) => position + index),
    timestamps: values.map(() => Number.NaN),
    next: position + values.length,
    end,
  };
}

/** A job over such a stream, sections of which may be replaced. */
export function memoryJob(sections: Readonly<Record<string, unknown>> = {}): CompiledJob {
  const { job, faults } = compileJob(
    jobConfig.parse({
      job: 'memory',
      source: { kafka: { brokers: ['nowhere:1'], topic: 'tx', group: 'memory' } },
      event: {
        id: '$.id',
        time: { path: '$.ts', unit: 'ms' },
        kind: { const: 'authorization' },
        fields: { amount: { path: '$.amount', type: 'money', scale: 2 } },
        entities: { card: { key: '$.card' }, shop: { key: '$.shop', optional: true } },
        key: 'card',
      },
      features: [
        { entity: 'card', windows: ['90d'], aggregates: ['count', 'sum(amount)'] },
        { entity: 'shop', windows: ['90d'], aggregates: ['count'] },
      ],
      state: { embedded: { path: 'unused' }, flush_interval_ms: 0 },
      model: { rules_only: true },
      policy: [],
      sink: { kafka: { topic: 'scored', dead_letters: 'dead' } },
      ...sections,
    }),
  );
  if (job === undefined) throw new Error(JSON.stringify(faults));
  return job;
}

export function quietSurroundings(): Surroundings {
  return {
    clock: systemClock,
    log: createLogger('silent', {}),
    metrics: createMetrics(),
    readiness: createReadiness([], () => {}),
  };
}

export interface MemoryRun {
  readonly store: StateStore;
  readonly source: Source;
  readonly sink: Sink;
  readonly signal: AbortSignal;
  readonly surroundings?: Surroundings;
  /** Takes the place of the job's. */
  readonly scorer?: Scorer;
}

/** Runs the job until the signal aborts. */
export async function runInMemory(job: CompiledJob, { store, source, sink, signal, ...of }: MemoryRun): Promise<void> {
  const surroundings = of.surroundings ?? quietSurroundings();
  const scorer = of.scorer ?? (await openScorer(job, surroundings));
  await runParts(job, { store, scorer, source, sink }, { ...surroundings, untilEnd: false, signal });
}

/** Looks again and again until it holds; the test's own time limit ends what never does. */
export async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise((resolve) => setTimeout(resolve, 2));
}
