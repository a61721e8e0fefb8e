import type { Admin } from 'kafkajs';
import type { Clock } from '../../runtime/clock.ts';
import { connectAdmin, countPartitions, createClient, type KafkaLog } from './client.ts';
import { carriedOutOffsets } from './committed-offset.ts';
import type { KafkaSourceConfig } from './config.ts';
import { brokerFault } from './faults.ts';

/** Where a consumer group stands in its topic, seen from outside. */
export interface GroupPositions {
  /**
   * The committed offset of each partition of the topic, undefined where there is none; not older than half a second.
   * @throws WeirError BROKER when the brokers do not answer; the next call tries anew.
   */
  now(): Promise<ReadonlyMap<number, number | undefined>>;
  close(): Promise<void>;
}

const freshMs = 500;

/** Watches a group that it is no member of. */
export function watchGroup(
  config: KafkaSourceConfig,
  { clock, log }: { readonly clock: Clock; readonly log?: KafkaLog },
): GroupPositions {
  const client = createClient(config, log);
  const { topic, group, brokers } = config;
  let admin: Admin | undefined;
  let askedAt = Number.NEGATIVE_INFINITY;
  let isAsking = false;
  let answer: Promise<ReadonlyMap<number, number | undefined>> | undefined;

  async function ask(): Promise<ReadonlyMap<number, number | undefined>> {
    admin ??= (await connectAdmin(client, config, [topic], 'INPUT', clock)).admin;
    try {
      const count = (await countPartitions(admin, [topic], brokers, 'INPUT')).get(topic)!;
      const offsets = await carriedOutOffsets(admin, clock, group, topic);
      return new Map(Array.from({ length: count }, (_, partition) => [partition, offsets.get(partition)]));
    } catch (error) {
      await disconnect();
      throw brokerFault(error, `asking for the positions of group ${group} in topic ${topic}`, brokers);
    }
  }

  async function disconnect(): Promise<void> {
    const connected = admin;
    admin = undefined;
    await connected?.disconnect().catch(() => undefined);
  }

  return {
    now() {
      if (answer !== undefined && (isAsking || clock.monotonic() - askedAt < freshMs)) return answer;
      isAsking = true;
      askedAt = clock.monotonic();
      answer = ask().finally(() => {
        isAsking = false;
      });
      answer.catch(() => {
        answer = undefined;
      });
      return answer;
    },
    async close() {
      await answer?.catch(() => undefined);
      await disconnect();
    },
  };
}
