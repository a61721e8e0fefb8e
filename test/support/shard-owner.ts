import type { Ownership, RawBatch } from '../../consumers/ports.ts';

/** A store in memory: groups of entities, each with a fence, which may lose what they have. */
export interface GroupedStore {
  /** By entity: the user records that were applied, in order, and the offset that its sub-state reaches. */
  groups: Group[];
}

export interface Group {
  readonly fence: number | undefined;
  readonly states: ReadonlyMap<number, SubState>;
}

interface SubState {
  readonly offset: number;
  readonly applied: readonly string[];
}

const entities = 6;
const groupCount = 3;

export function emptyStore(): GroupedStore {
  return { groups: Array.from({ length: groupCount }, emptyGroup) };
}

export function emptyGroup(): Group {
  return { fence: undefined, states: new Map() };
}

/** The entity that a user record belongs to. */
export function entityOf(name: string): number {
  const [record, sub] = name.split('.').map(Number);
  return (record * 5 + sub * 3) % entities;
}

export interface OwnerHooks {
  /** Between any two steps; may throw. */
  step(): void;
  published(offset: number, name: string): void;
  /** How many batches until the state is flushed. */
  flushEvery(): number;
}

/** One owner's life as the pipeline leads it, until the log's end, the shard's end, or until `step` throws. */
export async function ownUntilEnd(ownership: Ownership, store: GroupedStore, hooks: OwnerHooks): Promise<void> {
  const { step } = hooks;
  const { earliest } = await ownership.range();
  const position = (await ownership.checkpointed()) ?? earliest;
  const fences = store.groups.map(({ fence }) => fence);
  const fence = fences.includes(undefined) ? 0 : Math.min(...fences.map((one) => one!));
  if (fence > position) throw new Error(`the fence ${fence} is beyond the position ${position}`);
  const states = new Map(store.groups.flatMap(({ states: kept }) => [...kept]));
  const changed = new Set<number>();

  function apply(raw: RawBatch): void {
    for (const [row, offset] of raw.offsets.entries()) {
      const name = raw.values[row]!.toString();
      const entity = entityOf(name);
      const state = states.get(entity) ?? { offset: 0, applied: [] };
      if (offset < state.offset) continue;
      states.set(entity, { offset: offset + 1, applied: [...state.applied, name] });
      changed.add(entity);
    }
  }

  function flush(through: number): void {
    for (const [index, { fence: before, states: kept }] of store.groups.entries()) {
      step();
      const next = new Map(kept);
      for (const entity of changed) {
        const state = states.get(entity)!;
        if (entity % groupCount === index && state.offset > (kept.get(entity)?.offset ?? -1)) next.set(entity, state);
      }
      store.groups[index] = { fence: Math.max(before ?? 0, through), states: next };
    }
    changed.clear();
    step();
    ownership.stored!(through);
  }

  for (let at = Math.max(fence, earliest); at < position; ) {
    const raw = upTo(await ownership.read(at), position);
    if (raw.values.length === 0 && raw.next >= raw.end && raw.next < position)
      throw new Error('the log ends too early');
    step();
    apply(raw);
    flush(raw.next);
    at = raw.next;
  }
  flush(position);
  let published = position;
  let due = hooks.flushEvery();
  for (let at = position; !ownership.revoked.aborted; ) {
    const raw = await ownership.read(at);
    step();
    apply(raw);
    for (const [row, offset] of raw.offsets.entries()) hooks.published(offset, raw.values[row]!.toString());
    step();
    if (raw.values.length > 0) {
      await ownership.checkpoint(raw.next);
      published = raw.next;
    }
    step();
    const isDone = raw.next >= raw.end;
    at = raw.next;
    if (raw.values.length > 0 && --due > 0 && !isDone) continue;
    if (changed.size > 0 || isDone) flush(published);
    due = hooks.flushEvery();
    if (isDone && raw.values.length === 0) return;
  }
}

function upTo(raw: RawBatch, position: number): RawBatch {
  const kept = raw.offsets.filter((offset) => offset < position).length;
  if (raw.next <= position) return raw;
  return { ...raw, values: raw.values.slice(0, kept), offsets: raw.offsets.slice(0, kept), next: position };
}
