import type { CompiledJob } from '../consumers/compile.ts';
import type { Surroundings } from '../consumers/components.ts';
import { deliveryOf } from '../consumers/config.ts';
import { runParts } from '../consumers/job.ts';
import { sinkConnection } from '../consumers/kafka/config.ts';
import { createFetcher, type Fetcher } from '../consumers/kafka/fetcher.ts';
import { joinGroup, newIdentity } from '../consumers/kafka/group-member.ts';
import { sinkOver } from '../consumers/kafka/sink.ts';
import { sourceOver } from '../consumers/kafka/source.ts';
import type { Sink, Source } from '../consumers/ports.ts';
import { flushScript } from '../features/redis/flush-calls.ts';
import { loadScript } from '../features/redis/load-calls.ts';
import { storeOver } from '../features/redis/store.ts';
import type { StateStore } from '../features/store.ts';
import { WeirError } from '../runtime/errors.ts';
import { createRulesOnlyModel } from '../scoring/rules-only.ts';
import { createScorer } from '../scoring/scorer.ts';
import { inputTopic } from './job.ts';
import { simulatedClient } from './kafka/client.ts';
import type { ClusterParts } from './kafka/cluster.ts';
import type { Network } from './network.ts';
import type { SimulatedProcess } from './process.ts';
import { simulatedLink } from './redis/link.ts';
import type { RedisServer } from './redis/server.ts';

/** What a process finds outside. */
export interface Outside extends ClusterParts {
  readonly servers: readonly RedisServer[];
  /** Most entities of one call of a flush. */
  readonly callKeys: number;
}

/** What is done to the ports of a process: what is observed of them, and mutants. */
export interface Alterations {
  fetcher(of: Fetcher): Fetcher;
  source(of: Source): Source;
  sink(of: Sink): Sink;
  store(of: StateStore): StateStore;
}

/** The one around the other. */
export function both(outer: Alterations, inner: Alterations): Alterations {
  return {
    fetcher: (of) => outer.fetcher(inner.fetcher(of)),
    source: (of) => outer.source(inner.source(of)),
    sink: (of) => outer.sink(inner.sink(of)),
    store: (of) => outer.store(inner.store(of)),
  };
}

const retentionMs = 7 * 86_400_000;

/** `weir run` in a simulated process: all of it but what talks to the outside. Ends as the real one does. */
export async function runWeir(
  job: CompiledJob,
  outside: Outside,
  process: SimulatedProcess,
  surroundings: Surroundings,
  alterations: Alterations,
  signal: AbortSignal,
): Promise<void> {
  const { config, set, policy } = job;
  const { network, servers } = outside;
  const { clock } = process;
  const link = simulatedLink(servers, config.state.redis!.groups, network, process);
  await link.loadScripts([loadScript, flushScript]).catch((error: unknown) => {
    throw link.fault(error, 'loading the scripts');
  });
  const store = storeOver(link, config.state.redis!, {
    job: config.job,
    recipe: set.recipe,
    clock,
    retentionMs: () => retentionMs,
    onCommand: () => {},
    name: process.name,
    callKeys: outside.callKeys,
  });
  const client = simulatedClient(outside, process, inputTopic);
  const sink = sinkOver(client, config.sink.kafka!, {
    connection: sinkConnection(config.sink.kafka!, config.source.kafka)!,
    job: config.job,
    group: config.source.kafka!.group,
    delivery: deliveryOf(config),
    sourceIsKafka: true,
    clock,
  });
  await sink.connect();
  const kafka = config.source.kafka!;
  const identity = newIdentity(process.name);
  const source = sourceOver(
    {
      client,
      join: (events) => joinGroup(client, kafka, identity, clock, events),
      fetch: (events) => alterations.fetcher(createFetcher(client, kafka, clock, events)),
    },
    kafka,
    { maxEvents: config.batch.max_events, format: { type: 'json' }, clock },
  );
  const scorer = createScorer({
    model: model(network, process),
    set,
    policy,
    clock,
    mode: 'live',
    tokenise: undefined,
  });
  try {
    await runParts(
      job,
      { store: alterations.store(store), scorer, source: alterations.source(source), sink: alterations.sink(sink) },
      { ...surroundings, untilEnd: false, signal },
    );
  } finally {
    await source.close();
    await sink.close();
  }
}

/** Takes its time, and fails when there is no answer. */
function model(network: Network, process: SimulatedProcess) {
  const connection = network.connect(process);
  const real = createRulesOnlyModel();
  return {
    ...real,
    score: (rows: Float64Array, count: number) =>
      connection
        .ask('model', () => real.score(rows, count))
        .catch(() => {
          throw new WeirError('MODEL', 'the model does not answer');
        }),
  };
}
