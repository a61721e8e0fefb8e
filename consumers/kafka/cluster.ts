import kafkajs, { type Cluster, type Kafka } from 'kafkajs';

/** Connections of their own to a cluster, for what the client has no public way to do. It hands them to assigners only. */
export function clusterOf(client: Pick<Kafka, 'consumer'>): Cluster {
  let found: Cluster | undefined;
  client.consumer({
    groupId: 'none: it never joins',
    partitionAssigners: [
      (parts) => {
        found = parts.cluster;
        return kafkajs.PartitionAssigners.roundRobin(parts);
      },
    ],
    allowAutoTopicCreation: false,
  });
  return found!;
}

/** The numbers of the topic's partitions, as the cluster was last asked. */
export function partitionsOf(cluster: Cluster, topic: string): number[] {
  return cluster.findTopicPartitionMetadata(topic).map(({ partitionId }) => partitionId);
}
