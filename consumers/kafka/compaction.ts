import kafkajs, { type Admin } from 'kafkajs';
import { WeirError } from '../../runtime/errors.ts';

/** Who asks may not, or the service does not know what is asked. */
const unanswered = ['TOPIC_AUTHORIZATION_FAILED', 'CLUSTER_AUTHORIZATION_FAILED', 'UNSUPPORTED_VERSION'];

/**
 * A rebuild reads the log again: what compaction has taken out of it would be missing in features, and nothing would say so. Who cannot
 * learn the topic's config is let through.
 * @throws WeirError CONFIG when the topic is compacted; what the client threw when it cannot be asked.
 */
export async function demandUncompacted(admin: Admin, topic: string): Promise<void> {
  const policy = await cleanupPolicy(admin, topic);
  if (!policy.includes('compact')) return;
  throw new WeirError(
    'CONFIG',
    `topic ${topic} is compacted (cleanup.policy=${policy}): of records that compaction removes nothing is left that could tell, and features made anew from the log would be wrong; ` +
      'set cleanup.policy=delete, or read a topic that is not compacted',
  );
}

async function cleanupPolicy(admin: Admin, topic: string): Promise<string> {
  const resource = { type: kafkajs.ConfigResourceTypes.TOPIC, name: topic, configNames: ['cleanup.policy'] };
  try {
    const { resources } = await admin.describeConfigs({ resources: [resource], includeSynonyms: false });
    return resources.flatMap(({ configEntries }) => configEntries.map(({ configValue }) => configValue)).join(',');
  } catch (error) {
    if (unanswered.includes((error as { type?: string }).type ?? '')) return '';
    throw error;
  }
}
