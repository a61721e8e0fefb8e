import type { Clock } from '../runtime/clock.ts';
import { decodeSubState } from './codec.ts';
import type { Frontiers } from './frontiers.ts';
import type { Need } from './needs.ts';
import type { EntityPlan } from './plan.ts';
import { DamagedStateError, type LoadRequest, type StateStore, type StoredSubState } from './store.ts';
import { emptySubState, type SubState } from './sub-state.ts';
import { createTenures } from './tenures.ts';

export const neverLoaded = -1;

/** An entity in the process's memory: the sub-states of the partitions owned here, and copies of all others'. */
export interface Entity {
  readonly id: string;
  readonly subStates: SubState[];
  /** The store's version at the last load; `neverLoaded` when the next use has to load everything. */
  version: number;
  /**
   * Partitions that had to go on with it without its being loaded: what they have of it here may be less than there is, or count a repetition.
   * No load mends that, only the end of their tenure does. Mostly none.
   */
  unread: Set<string> | undefined;
  /** Counts what came into memory. */
  readonly serial: number;
  /** When the other partitions' copies were last brought up to date, monotonic milliseconds. */
  refreshedAt: number;
  /** What others had stored by then (see frontiers.ts). */
  sight: number;
  /** The epoch (see tenures.ts) of the last load, or of its beginning. */
  epoch: number;
  /** Batches that hold the entity between load and apply; a pinned entity is never evicted. */
  pins: number;
  /** Changes of own sub-states that the store does not have yet; such an entity is never evicted. */
  dirty: number;
  /** The load under way, while there is one. */
  loading: Promise<void> | undefined;
  /** Partitions whose sub-states were damaged and have not been made anew yet; most entities have none. */
  missing: Set<string> | undefined;
  /** Partitions of which the store, at the last load, had lost state where the entity is kept; mostly none. */
  lost: readonly string[] | undefined;
}

export interface EntityCacheOptions {
  readonly store: StateStore;
  readonly clock: Clock;
  readonly frontiers: Pick<Frontiers, 'sight' | 'missesFrom' | 'storedThrough'>;
  /** Entities kept per entity type. */
  readonly capacity: number;
  readonly onLookups: (hits: number, misses: number) => void;
  /** A stored sub-state could not be read, and was discarded. */
  readonly onDamaged: (error: Error) => void;
}

export interface EntityCache {
  /**
   * The entities of the given ids, pinned, and up to date in the store's eyes. One round trip for all that have to be loaded; more
   * only when partitions were gained or lost meanwhile.
   * @param plans entity plans; ids[k] belong to plans[k], '' for none.
   * @param count rows of each ids[k]
   * @param partition that the ids are from.
   * @param needs by plan
   */
  load(
    plans: readonly EntityPlan[],
    ids: readonly (readonly string[])[],
    count: number,
    partition: string,
    needs: readonly Need[],
  ): Promise<Loaded>;
  /** As load(), without the store: what is not in memory, or would have to be brought up to date after a gain or a loss, is marked unread. */
  held(plans: readonly EntityPlan[], ids: readonly (readonly string[])[], count: number, partition: string): Loaded;
  /** From now on the partition is written here. */
  own(partition: string): void;
  /** From now on the partition goes on without the store, which lacks what is not stored of it yet: so does what comes into memory later. */
  cutOff(partition: string): void;
  /** From now on the partition is written elsewhere, or its memory is not to be trusted: what is held of it is not used again. */
  disown(partition: string): void;
  /** Partitions whose state is to be in the store when an entity is loaded. */
  watch(partitions: readonly string[]): void;
  /** Who writes sub-states of the type's entities; the narrower, the less is asked of the store. */
  setReach(type: string, reach: Reach): void;
  ownSubState(entity: Entity, plan: EntityPlan, partition: string): SubState;
  size(): number;
}

/**
 * Where the sub-states of an entity come from: the one partition that its events come from, partitions of this process alone, or those of
 * any process.
 */
export type Reach = 'partition' | 'process' | 'fleet';

/** entities[k][row] for plan k; undefined where the event has none. */
export interface Loaded {
  readonly entities: (Entity | undefined)[][];
  release(): void;
}

interface Begun {
  readonly pending: ReadonlySet<Promise<void>>;
  /** Entities that were up to date, and those whose load was begun. */
  readonly hits: number;
  readonly misses: number;
}

interface Damaged {
  readonly type: string;
  readonly id: string;
  readonly partition: string;
  readonly error: Error;
}

interface Shelf {
  young: Map<string, Entity>;
  old: Map<string, Entity>;
  reach: Reach;
}

export function createEntityCache(options: EntityCacheOptions): EntityCache {
  const { store, clock, capacity, frontiers } = options;
  const tenures = createTenures();
  let watched: readonly string[] = [];
  let newest = 0;
  /** By owned partition: the newest entity that cannot lack anything of it that is not stored. */
  const wholeThrough = new Map<string, number>();
  const shelves = new Map<string, Shelf>();

  const shelfOf = (type: string): Shelf => {
    let shelf = shelves.get(type);
    if (!shelf) {
      shelf = { young: new Map(), old: new Map(), reach: 'fleet' };
      shelves.set(type, shelf);
    }
    return shelf;
  };

  function lookUp(shelf: Shelf, id: string): Entity | undefined {
    let entity = shelf.young.get(id);
    if (entity) return entity;
    entity = shelf.old.get(id);
    if (entity) {
      shelf.old.delete(id);
      shelf.young.set(id, entity);
    }
    return entity;
  }

  function pin(type: string, ids: readonly string[], count: number): (Entity | undefined)[] {
    const shelf = shelfOf(type);
    rotate(shelf);
    const column: (Entity | undefined)[] = new Array(count);
    for (let row = 0; row < count; row++) {
      const id = ids[row];
      if (id === '') continue;
      const entity = lookUp(shelf, id) ?? newEntity(shelf, id);
      entity.pins++;
      column[row] = entity;
    }
    return column;
  }

  function newEntity(shelf: Shelf, key: string): Entity {
    // A copy: cut out of a record, the key would keep all of the record's text in memory.
    const id = Buffer.from(key).toString();
    const entity = {
      id,
      subStates: [],
      version: neverLoaded,
      unread: undefined,
      serial: ++newest,
      refreshedAt: 0,
      sight: 0,
      epoch: tenures.epoch,
      pins: 0,
      dirty: 0,
      loading: undefined,
      missing: undefined,
      lost: undefined,
    };
    shelf.young.set(id, entity);
    return entity;
  }

  /** Two generations: when the young one is full the old one goes, but for what is in use or not stored yet. */
  function rotate(shelf: Shelf): void {
    if (shelf.young.size * 2 <= capacity) return;
    const kept = new Map<string, Entity>();
    for (const [id, entity] of shelf.old) {
      if (entity.pins > 0 || entity.dirty > 0) kept.set(id, entity);
    }
    shelf.old = shelf.young;
    shelf.young = kept;
  }

  /** What was written in a tenure that has ended may never have been published. */
  function dropDoubtful(entity: Entity): void {
    const { subStates, epoch } = entity;
    const isDoubtful = (partition: string) => tenures.hasEndedSince(epoch, partition);
    for (const partition of entity.unread ?? []) if (isDoubtful(partition)) entity.unread!.delete(partition);
    for (let k = subStates.length - 1; k >= 0; k--) {
      if (!isDoubtful(subStates[k].partition)) continue;
      subStates.splice(k, 1);
      entity.version = neverLoaded;
    }
    // What comes of the present tenures until it is loaded, which may never be, is not doubtful.
    if (entity.version === neverLoaded) entity.epoch = tenures.epoch;
  }

  /** Not all that memory should have of it is there. */
  function isShort(entity: Entity, reach: Reach, partition: string): boolean {
    // Also where a load is due: one that failed may have left what another tenure, ended since, has written.
    if (entity.epoch < tenures.epoch) dropDoubtful(entity);
    if (entity.version === neverLoaded) return true;
    return tenures.hasBegunSince(entity.epoch, reach === 'partition' ? partition : undefined);
  }

  function needsLoad(entity: Entity, reach: Reach, partition: string, now: number, need: Need): boolean {
    if (isShort(entity, reach, partition)) return true;
    const { lost, refreshedAt } = entity;
    // Another partition may have loaded it before this one, which was being gained, had asked for its fence: what it asks itself counts.
    if (lost?.includes(partition) === true && refreshedAt < now) return true;
    if (reach === 'partition' || (reach === 'process' && lost === undefined)) return false;
    const ageMs = lost === undefined && entity.missing === undefined ? need.ageMs : need.doubtfulAgeMs;
    return now - refreshedAt > ageMs || need.through >= frontiers.missesFrom(entity.sight);
  }

  function releaseOf(entities: Loaded['entities']): () => void {
    return () => {
      for (const column of entities) for (const entity of column) if (entity) entity.pins--;
    };
  }

  async function fetch(wanted: readonly Entity[], plans: readonly EntityPlan[], now: number): Promise<void> {
    const asked = tenures.epoch;
    const sight = frontiers.sight();
    let since = asked;
    const requests: LoadRequest[] = wanted.map((entity, k) => {
      if (entity.version !== neverLoaded) since = Math.min(since, entity.epoch);
      return { type: plans[k].type, id: entity.id, version: Math.max(0, entity.version) };
    });
    const through = new Map(watched.map((partition) => [partition, frontiers.storedThrough(partition)]));
    const answers = await store.load(requests, tenures.heldSince(since), through);
    const damaged: Damaged[] = [];
    for (let k = 0; k < wanted.length; k++) {
      adopt(wanted[k], plans[k], answers[k].subStates, damaged);
      wanted[k].version = answers[k].version;
      wanted[k].epoch = asked;
      wanted[k].refreshedAt = now;
      wanted[k].lost = answers[k].lost;
      wanted[k].sight = sight;
    }
    for (const found of damaged) await discard(found);
  }

  /** Of two copies the one that reaches further counts. */
  function adopt(entity: Entity, plan: EntityPlan, subStates: readonly StoredSubState[], damaged: Damaged[]): void {
    for (const { partition, offset, bytes } of subStates) {
      const held = entity.subStates.findIndex((state) => state.partition === partition);
      if (held >= 0 && entity.subStates[held].offset >= offset) continue;
      try {
        const state = decodeSubState(bytes, plan, partition, offset);
        if (held >= 0) entity.subStates[held] = state;
        else entity.subStates.push(state);
        entity.missing?.delete(partition);
      } catch (error) {
        if (!(error instanceof Error && error.cause instanceof DamagedStateError)) throw error;
        entity.missing ??= new Set();
        entity.missing.add(partition);
        damaged.push({ type: plan.type, id: entity.id, partition, error });
      }
    }
  }

  /** What cannot be read is never used: another process's is left out until its owner has made it anew, an own one is made anew now. */
  async function discard({ partition, error, ...entity }: Damaged): Promise<void> {
    await store.discard(partition, entity);
    options.onDamaged(error);
    if (tenures.owns(partition)) throw error;
  }

  /** Begins the load of those that need one; loads that others began are to be waited for as well. */
  function bringUpToDate(
    entities: Loaded['entities'],
    plans: readonly EntityPlan[],
    partition: string,
    now: number,
    needs: readonly Need[],
  ): Begun {
    const pending = new Set<Promise<void>>();
    const wanted: Entity[] = [];
    const wantedPlans: EntityPlan[] = [];
    let hits = 0;
    for (let k = 0; k < plans.length; k++) {
      const { reach } = shelfOf(plans[k].type);
      for (const entity of entities[k]) {
        if (!entity) continue;
        if (entity.loading) pending.add(entity.loading);
        else if (needsLoad(entity, reach, partition, now, needs[k])) {
          entity.loading = placeholder;
          wanted.push(entity);
          wantedPlans.push(plans[k]);
        } else hits++;
      }
    }
    pending.delete(placeholder);
    if (wanted.length > 0) {
      const loading = fetch(wanted, wantedPlans, now).finally(() => {
        for (const entity of wanted) entity.loading = undefined;
      });
      for (const entity of wanted) entity.loading = loading;
      pending.add(loading);
    }
    return { pending, hits, misses: wanted.length };
  }

  return {
    async load(plans, ids, count, partition, needs) {
      const now = clock.monotonic();
      const entities = plans.map((plan, k) => pin(plan.type, ids[k], count));
      const release = releaseOf(entities);
      try {
        let begun = bringUpToDate(entities, plans, partition, now, needs);
        options.onLookups(begun.hits, begun.misses);
        // Once more: partitions may have been gained or lost meanwhile.
        for (; begun.pending.size > 0; begun = bringUpToDate(entities, plans, partition, now, needs))
          await Promise.all(begun.pending);
      } catch (error) {
        release();
        throw error;
      }
      return { entities, release };
    },
    held(plans, ids, count, partition) {
      const whole = wholeThrough.get(partition) ?? 0;
      const entities = plans.map((plan, k) => pin(plan.type, ids[k], count));
      for (const [k, { type }] of plans.entries()) {
        const { reach } = shelfOf(type);
        for (const entity of entities[k]) {
          if (!entity) continue;
          if (isShort(entity, reach, partition) || entity.serial > whole) markUnread(entity, partition);
        }
      }
      return { entities, release: releaseOf(entities) };
    },
    own(partition) {
      tenures.begin(partition);
      wholeThrough.set(partition, newest);
    },
    cutOff(partition) {
      wholeThrough.set(partition, newest);
    },
    disown(partition) {
      tenures.end(partition);
      wholeThrough.delete(partition);
    },
    watch(partitions) {
      watched = partitions;
    },
    setReach(type, reach) {
      shelfOf(type).reach = reach;
    },
    ownSubState(entity, plan, partition) {
      const { subStates } = entity;
      for (let k = 0; k < subStates.length; k++) if (subStates[k].partition === partition) return subStates[k];
      const state = emptySubState(plan, partition);
      entity.missing?.delete(partition);
      subStates.push(state);
      return state;
    },
    size() {
      let entities = 0;
      for (const { young, old } of shelves.values()) entities += young.size + old.size;
      return entities;
    },
  };
}

export function markUnread(entity: Entity, partition: string): void {
  entity.unread ??= new Set();
  entity.unread.add(partition);
}

/** Marks an entity as wanted by the very load that is being put together. */
const placeholder: Promise<void> = Promise.resolve();
