import type { Producer } from 'kafkajs';
import type { Clock } from '../../runtime/clock.ts';
import { type Output, type Ownership, partitionName } from '../ports.ts';
import { brokerFault } from './faults.ts';
import { createSender, type Destination } from './send.ts';

/** At-least-once: what was sent and not yet checkpointed when a process dies is sent again by the next owner. */
export function openPlainOutput(
  producer: Producer,
  ownership: Ownership,
  destination: Destination,
  clock: Clock,
): Output {
  const sender = createSender(destination);
  return {
    position: () => ownership.checkpointed(),
    async publish(batch, position) {
      try {
        await sender.send(producer, batch, clock.now());
      } catch (error) {
        throw brokerFault(error, `publishing for ${partitionName(ownership)}`, destination.brokers);
      }
      await ownership.checkpoint(position);
    },
    close: async () => {},
  };
}
