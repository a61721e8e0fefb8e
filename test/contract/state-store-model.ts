import { expect } from '@jest/globals';
import type { LoadedEntity, LoadRequest, SubStateChange } from '../../features/store.ts';

/** What a store must do, said once more in the plainest way; versions are compared, never foretold. */
export function modelStore() {
  const entities = new Map<string, Map<string, string>>();
  const offsets = new Map<string, number>();
  const fences = new Map<string, number>();
  /** By entity: what it held when the store answered with a version. */
  const answered = new Map<string, Map<number, string>>();
  const text = (id: string) => JSON.stringify([...(entities.get(id) ?? [])].sort());

  return {
    fence: (partition: string) => fences.get(partition),
    flush(partition: string, changes: readonly SubStateChange[], fence: number): void {
      for (const { id, offset, bytes } of changes) {
        const key = `${id} ${partition}`;
        if ((offsets.get(key) ?? -1) >= offset) continue;
        offsets.set(key, offset);
        const held = entities.get(id) ?? new Map<string, string>();
        entities.set(id, held.set(partition, `${offset} ${Buffer.from(bytes).toString('utf8')}`));
      }
      fences.set(partition, Math.max(fences.get(partition) ?? 0, fence));
    },
    check(
      type: string,
      requests: readonly LoadRequest[],
      owned: ReadonlySet<string>,
      answers: readonly LoadedEntity[],
    ): void {
      expect(answers).toHaveLength(requests.length);
      for (let k = 0; k < requests.length; k++) {
        const { id, version: seen } = requests[k];
        const { version, subStates } = answers[k];
        const held = entities.get(id) ?? new Map<string, string>();
        const versions = answered.get(id) ?? new Map<number, string>();
        const isUnchanged = seen !== 0 && versions.get(seen) === text(id);
        expect(version === 0).toBe(held.size === 0);
        expect(version === seen && seen !== 0).toBe(isUnchanged);
        expect(versions.get(version) ?? text(id)).toBe(text(id));
        answered.set(id, versions.set(version, text(id)));
        const expected = [...held].filter(([partition]) => !isUnchanged && !(seen !== 0 && owned.has(partition)));
        const got = subStates.map(({ partition, offset, bytes }) => [
          partition.slice(type.length + 1),
          `${offset} ${Buffer.from(bytes).toString('utf8')}`,
        ]);
        expect(got.sort()).toEqual(expected.sort());
      }
    },
  };
}
