import type { Ownership } from '../../consumers/ports.ts';

/** An input partition that belongs to the test; its checkpoint is kept in memory. */
export function ownedPartition(stream: string, partition = 0, partitions = 1): Ownership {
  let kept: number | undefined;
  const unread = () => Promise.reject(new Error('a sink does not read its input'));
  return {
    stream,
    partition,
    partitions,
    format: { type: 'json' },
    revoked: new AbortController().signal,
    range: unread,
    read: unread,
    checkpointed: async () => kept,
    checkpoint: async (position) => {
      kept = position;
    },
    release: async () => {},
  };
}
