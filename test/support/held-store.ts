import type { LoadedEntity, LoadRequest, StateStore, SubStateChange } from '../../features/store.ts';

/** A store in memory. Loads see it as it is when they are asked, and answer when the test lets them. */
export function heldStore() {
  const entities = new Map<
    string,
    { version: number; subStates: Map<string, { offset: number; bytes: Uint8Array }> }
  >();
  const held: { answer: () => void; fail: (error: Error) => void; requests: readonly LoadRequest[] }[] = [];
  let isHolding = false;
  const look = ({ type, id, version }: LoadRequest, owned: ReadonlySet<string>): LoadedEntity => {
    const found = entities.get(`${type} ${id}`);
    if (!found || found.version === version) return { version: found?.version ?? 0, subStates: [] };
    const subStates = [...found.subStates]
      .filter(([partition]) => version === 0 || !owned.has(partition))
      .map(([partition, state]) => ({ partition, ...state }));
    return { version: found.version, subStates };
  };
  const keep = (partition: string, { type, id, offset, bytes }: SubStateChange) => {
    const entity = entities.get(`${type} ${id}`) ?? { version: 0, subStates: new Map() };
    entities.set(`${type} ${id}`, entity);
    if ((entity.subStates.get(partition)?.offset ?? 0) >= offset) return;
    entity.subStates.set(partition, { offset, bytes: Uint8Array.from(bytes) });
    entity.version++;
  };
  const store: StateStore = {
    async load(requests, owned) {
      const answers = requests.map((request) => look(request, owned));
      if (!isHolding) return answers;
      return new Promise((resolve, reject) => {
        held.push({ answer: () => resolve(answers), fail: reject, requests });
      });
    },
    flush: async (partition, changes) => {
      for (const change of changes) keep(partition, change);
    },
    fence: async () => undefined,
    discard: async (partition, { type, id }) => {
      entities.get(`${type} ${id}`)!.subStates.delete(partition);
    },
    close: async () => {},
  };
  const damage = (entity: string, partition: string) => {
    entities.get(entity)!.subStates.get(partition)!.bytes[3] ^= 255;
  };
  return { store, held, damage, hold: (on: boolean) => (isHolding = on) };
}
