import { definitionOf, type MetadataAnswer } from './internals.ts';

let isInstalled = false;

/**
 * Lets the client know a topic some of whose partitions nobody leads, as when all of their replicas are away: they have the leader -1. The
 * client would refuse the whole answer, and nothing could be read from, or sent to, the partitions that are led.
 */
export function installLeaderless(): void {
  if (isInstalled) return;
  isInstalled = true;
  const definition = definitionOf<unknown>('metadata');
  const { protocol } = definition;
  definition.protocol = (choice) => {
    const metadata = protocol(choice);
    return (what) => {
      const { request, response } = metadata(what);
      const parse = (answer: MetadataAnswer) => response.parse(withoutPartitionErrors(answer) as never);
      return { request, response: { ...response, parse } };
    };
  };
}

function withoutPartitionErrors(answer: MetadataAnswer): MetadataAnswer {
  const topicMetadata = answer.topicMetadata.map((topic) => ({
    ...topic,
    partitionMetadata: topic.partitionMetadata.map((partition) => ({ ...partition, partitionErrorCode: 0 })),
  }));
  return { ...answer, topicMetadata };
}
