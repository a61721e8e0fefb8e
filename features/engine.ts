import type { Clock } from '../runtime/clock.ts';
import { WeirError } from '../runtime/errors.ts';
import { createBatchColumns, numberOf } from './batch-columns.ts';
import { trackBehind } from './behind.ts';
import { createEntityCache, type Entity, type Loaded, markUnread, neverLoaded } from './cache.ts';
import { createSubStateWriter } from './codec.ts';
import { oldestOf, type TransactionBatch } from './columns.ts';
import { derivedFeatures } from './derived-features.ts';
import { createEvaluator, type Moment } from './evaluate.ts';
import { eventFeatures } from './event-features.ts';
import { createFrontiers, type Frontiers } from './frontiers.ts';
import { textHash } from './hash.ts';
import { createHistory } from './history.ts';
import { trackMovedKeys } from './moved-keys.ts';
import { type Asked, askedBy, createNeed, type Need } from './needs.ts';
import { type EntityPlan, type FeatureSet, idField, latenessOf } from './plan.ts';
import { createReplayedIds, forgetOldest, markOf, repeatsAncestor } from './repeats.ts';
import { type FeatureRows, resizeRows } from './rows.ts';
import { lostState, type StateStore, type SubStateChange } from './store.ts';
import { applyLabel, type Insertion, insertEvent, type SubState } from './sub-state.ts';

export interface FeatureEngineOptions {
  readonly set: FeatureSet;
  readonly store: StateStore;
  readonly clock: Clock;
  readonly cacheEntities: number;
  readonly refreshMs: number;
  /** What others are behind by no more than this is no reason to call a value stale. Milliseconds of event time. */
  readonly toleranceMs: number;
  /** Name of the entity that the source is keyed by: no other partition has events of it, but for those from before the topic grew. */
  readonly keyEntity: string | undefined;
  readonly onLookups: (hits: number, misses: number) => void;
  /** A stored sub-state could not be read, and was discarded: its partition re-applies its log. */
  readonly onDamaged: (error: Error) => void;
}

/** The velocity features of one process: entity states in memory, applied and evaluated batch by batch. */
export interface FeatureEngine {
  /**
   * The partition is owned from now on.
   * @param partitions how many the stream has: owning all spares reading others' states.
   * @param ancestors numbers of those that the partition came from, all read to their end.
   */
  gain(partition: string, partitions: number, ancestors?: () => readonly number[]): void;
  /** The partition is lost, or its memory is not to be trusted any more. */
  lose(partition: string): void;
  /**
   * Whether the partition, owned or about to be, is behind what is committed of it: meanwhile features of entities that other
   * partitions share with it are marked stale.
   */
  recovering(partition: string, isRecovering: boolean): void;
  /** An owned partition goes on without the store: what is loaded from now on may lack something of it. */
  cutOff(partition: string): void;
  /** How far the partitions have come in event time. */
  readonly frontiers: Frontiers;
  /** What features of entities that partitions share ask of the other partitions, for events from that time on. */
  asksOfOthers(time: number): Asked;
  /** Reads how far the other partitions have come, and since when partitions have history, where that is not for ever; from then on it is kept up. */
  learnOthers(): Promise<void>;
  /** The log of an owned partition begins behind what is stored of it, at the offset: windows that reach further back will be incomplete. */
  truncated(partition: string, offset: number): void;
  /**
   * The stream has so many partitions by now. More than before: keys have moved to the new ones.
   * @param readable numbers of those that still have something to be read; absent: all. What others have stored of the rest is not kept up.
   * @param grownAt when it is known to have got more, also before this process began, milliseconds since the epoch; absent: not.
   */
  counted(partitions: number, readable?: readonly number[], grownAt?: number): void;
  /**
   * Brings the entities of the partition's batch into memory. The answer goes to apply() or replay(), once.
   * @throws WeirError STORE, with a LostStateError as its cause when the store has lost state of the partition where one of them is kept.
   */
  load(batch: TransactionBatch, partition: string): Promise<Loaded>;
  /** As load(), without the store: features of entities that are not in memory will be marked incomplete. */
  held(batch: TransactionBatch, partition: string): Loaded;
  /**
   * Applies event by event, each before its own features are evaluated, and writes the features to `out`.
   * @param seenBefore what other partitions have before this event time was visible when the batch was loaded; what reads beyond is stale.
   * @throws WeirError FENCED when the partition's state has events behind this one already: somebody else has gone on with it.
   */
  apply(batch: TransactionBatch, loaded: Loaded, partition: string, out: FeatureRows, seenBefore?: number): Applied;
  /** Applies without evaluating, for recovery; sub-states that reach beyond an event leave it out. */
  replay(batch: TransactionBatch, loaded: Loaded, partition: string): void;
  /** The partition's sub-states changed since the last call, encoded; call it only when all that is applied is published, which is through the offset. */
  takeChanges(partition: string, through: number): TakenChanges;
  /** So much has changed since takeChanges(), which stays in memory until it is stored, that the store should come after first. */
  hasManyChanges(partition: string): boolean;
  /** The partition's changes since takeChanges() are never to be stored: they need not be kept in memory any more. */
  dropChanges(partition: string): void;
  /** Entities in memory. */
  entities(): number;
}

export interface Applied {
  /** How many events were too late to be applied. */
  readonly late: number;
  /** How many events repeat an earlier one: they are not applied. */
  readonly repeats: number;
  /** How many have a feature that is incomplete because the history is known only since some time. */
  readonly short: number;
  /** Since when the partition's own history is known, milliseconds since the epoch; -Infinity: for ever. */
  readonly historyFrom: number;
  /** 1 for the rows that repeat an earlier one; valid until the next call. */
  readonly isRepeat: Uint8Array;
}

export interface TakenChanges {
  readonly changes: readonly SubStateChange[];
  /** To be called once the changes are stored, or will never be: until then their entities stay in memory. */
  settle(): void;
}

interface Change {
  readonly plan: EntityPlan;
  readonly entity: Entity;
  readonly state: SubState;
}

export function createFeatureEngine(options: FeatureEngineOptions): FeatureEngine {
  const { set, store, clock, toleranceMs, refreshMs } = options;
  const { repeats } = set;
  const plans = repeats === undefined ? set.entities : [...set.entities, repeats];
  const featurePlans = set.entities.length;
  const evaluators = set.entities.map(createEvaluator);
  const frontiers = createFrontiers(store, clock);
  const cache = createEntityCache({
    store,
    clock,
    frontiers,
    capacity: options.cacheEntities,
    onLookups: options.onLookups,
    onDamaged: options.onDamaged,
  });
  const latenessMs = latenessOf(set);
  const history = createHistory(store, clock, latenessMs);
  const changed = new Map<string, Change[]>();
  const ancestorsOf = new Map<string, () => readonly number[]>();
  /** Names of those of the batch's partition. */
  let ancestors: ReadonlySet<string> = new Set();
  const replayed = repeats && createReplayedIds(repeats, options.cacheEntities);
  const columns = createBatchColumns(set);
  const facts = plans.map((plan) => new Float64Array(1 + plan.numbers.length + plan.hashes.length));
  let isRepeatRow = new Uint8Array(0);
  let row = 0;
  const moment: Moment = {
    time: 0,
    own: undefined,
    insertion: 'kept',
    isStale: false,
    seenBefore: Number.POSITIVE_INFINITY,
    toleranceMs,
    knownFrom: 0,
    facts: new Float64Array(0),
  };

  const behind = trackBehind(toleranceMs);
  let partitionCount = 0;
  /** Numbers of the partitions that have something left to be read; undefined: all. */
  let readable: readonly number[] | undefined;
  /** What the names of the stream's partitions begin with. */
  let ofStream = '';
  const keyPlan = set.entities.findIndex(({ type }) => type === options.keyEntity);
  const movedKeys = trackMovedKeys(set.entities[keyPlan]);
  /** Moved keys concerned the last batch that was loaded. */
  let areKeysShared = false;

  /** The ids of a source key are nobody else's business; nor is the entity that the source is keyed by, unless keys have moved. */
  function spans(plan: EntityPlan, areKeysShared: boolean): boolean {
    return plan !== repeats && (plan !== plans[keyPlan] || areKeysShared);
  }

  /** Somebody else has, or may get, partitions that have something left to be read. */
  function hasOthers(): boolean {
    if (readable === undefined) return changed.size < partitionCount;
    return readable.some((index) => !changed.has(`${ofStream}${index}`));
  }

  function share(): void {
    cache.watch(watchedPartitions());
    const reach = hasOthers() ? 'fleet' : 'process';
    for (const plan of plans) cache.setReach(plan.type, spans(plan, areKeysShared) ? reach : 'partition');
  }

  /**
   * The own ones, and while there are others of the stream, those of them that have an owner too: fences of the rest are not renewed. Unless their
   * number does not say what they are called.
   */
  function watchedPartitions(): string[] {
    const count = Number.isFinite(partitionCount) ? partitionCount : 0;
    const others = hasOthers() ? (readable ?? Array.from({ length: count }, (_, index) => index)) : [];
    return [...new Set([...changed.keys(), ...others.map((index) => `${ofStream}${index}`)])];
  }

  function idsOf(batch: TransactionBatch): string[][] {
    return plans.map((plan) => (plan === repeats ? batch.sources : batch.entityIds[plan.entity]));
  }

  /** @throws WeirError STORE when the store has lost state of the partition that the batch is from. */
  function demandWhole({ entities, release }: Loaded, partition: string): void {
    for (const column of entities) {
      for (const entity of column) {
        if (entity?.lost?.includes(partition) !== true) continue;
        release();
        throw lostState(partition);
      }
    }
  }

  const asked = plans.map(askedBy);
  const needs = plans.map((plan, k) => createNeed(plan, asked[k], { refreshMs, toleranceMs, latenessMs }));
  /** By plan. */
  function needsOf({ times, count }: TransactionBatch): Need[] {
    let newest = Number.NEGATIVE_INFINITY;
    if (hasOthers()) for (let k = 0; k < count; k++) newest = Math.max(newest, times[k]);
    return needs.map((needed) => needed(newest));
  }

  function count(partitions: number): void {
    if (partitionCount > 0 && partitions > partitionCount) movedKeys.moved(clock.now());
    partitionCount = partitions;
    share();
  }

  function shareKeys(time: number): void {
    const concerned = movedKeys.concern(time);
    if (concerned === areKeysShared) return;
    areKeysShared = concerned;
    share();
  }

  /** Nobody may have seen the topic grow since the job began: then state of the key in another partition than the batch's says so. */
  function noticeMovedKeys({ entities }: Loaded, partition: string, time: number): void {
    if (keyPlan < 0) return;
    // What was added from a file is nobody's, and stays as it is.
    const isSign = (state: SubState) =>
      state.partition !== partition && state.partition.startsWith(ofStream) && movedKeys.showIn(state, time);
    if (!entities[keyPlan].some((entity) => entity?.subStates.some(isSign))) return;
    movedKeys.moved(clock.now());
    shareKeys(time);
  }

  function fillFacts(k: number, batch: TransactionBatch): Float64Array {
    const { numbers, hashes } = plans[k];
    const out = facts[k];
    out[0] = columns.masks[k][row];
    for (let n = 0; n < numbers.length; n++) {
      const value = numberOf(set, batch, numbers[n], row);
      out[1 + n] = Number.isNaN(value) ? 0 : value;
    }
    for (let n = 0; n < hashes.length; n++) {
      const field = hashes[n];
      out[1 + numbers.length + n] = field === idField ? columns.ids[row] : columns.hashes[field][row];
    }
    return out;
  }

  /** What the event says of an earlier one. */
  function label(plan: EntityPlan, state: SubState, batch: TransactionBatch): void {
    let bits = 0;
    for (const { kind, bit } of plan.labels) if (kind === batch.kinds[row]) bits |= bit;
    if (bits !== 0) applyLabel(state, plan, textHash(batch.refersTo[row]), bits, batch.times[row]);
  }

  function update(
    k: number,
    entity: Entity,
    state: SubState,
    batch: TransactionBatch,
    changes: Change[],
    time = batch.times[row],
  ): Insertion {
    const offset = batch.offsets[row];
    // What was loaded, or copied earlier, with the event in it is stored once more: the fence, which is to pass the event, does not show whether
    // that was lost since.
    if (!state.dirty) {
      state.dirty = true;
      entity.dirty++;
      changes.push({ plan: plans[k], entity, state });
    }
    if (offset < state.offset) return 'kept';
    const insertion = insertEvent(state, plans[k], time, facts[k]);
    if (batch.refersTo[row] !== '') label(plans[k], state, batch);
    state.offset = offset + 1;
    return insertion;
  }

  function meetAncestors(partition: string): void {
    ancestors = new Set(ancestorsOf.get(partition)!().map((index) => `${ofStream}${index}`));
  }

  /** Judges whether the event repeats an earlier one of the log, and remembers its id if not. */
  function repeatsEarlier(batch: TransactionBatch, loaded: Loaded, partition: string, changes: Change[]): boolean {
    if (repeats === undefined) return false;
    const entity = loaded.entities[featurePlans][row]!;
    const state = cache.ownSubState(entity, repeats, partition);
    const [time, offset, id] = [batch.times[row], batch.offsets[row], columns.ids[row]];
    const isInherited = (mark: number) =>
      ancestors.size > 0 &&
      entity.subStates.some((of) => ancestors.has(of.partition) && repeatsAncestor(of, repeats, mark, time, id));
    const isAhead = offset < state.offset;
    if (isAhead && replayed!.isRepeat(entity.id, state, time, offset, id, isInherited)) return true;
    const mark = isAhead ? time : markOf(state, repeats, time, offset, id);
    if (mark === undefined || (!isAhead && isInherited(mark))) return true;
    const own = facts[featurePlans];
    own[1] = offset;
    own[2] = id;
    update(featurePlans, entity, state, batch, changes, mark);
    forgetOldest(state, repeats);
    return false;
  }

  return {
    gain(partition, partitions, lineage = () => []) {
      ancestorsOf.set(partition, lineage);
      cache.own(partition);
      frontiers.own(partition);
      changed.set(partition, []);
      const stream = partition.slice(0, partition.lastIndexOf(':') + 1);
      if (stream !== ofStream) {
        partitionCount = 0;
        readable = undefined;
      }
      ofStream = stream;
      count(partitions);
    },
    lose(partition) {
      for (const { entity } of changed.get(partition) ?? []) entity.dirty--;
      changed.delete(partition);
      ancestorsOf.delete(partition);
      replayed?.forget(partition);
      cache.disown(partition);
      frontiers.disown(partition);
      history.forget(partition);
      share();
    },
    recovering: behind.suspect,
    frontiers,
    asksOfOthers(time) {
      const areKeysShared = movedKeys.concern(time);
      const shared = asked.filter((_, k) => spans(plans[k], areKeysShared));
      return {
        undelayed: shared.some(({ undelayed }) => undelayed),
        delayMs: Math.min(...shared.map(({ delayMs }) => delayMs)),
        leadMs: Math.min(...shared.map(({ leadMs }) => leadMs)),
      };
    },
    async learnOthers() {
      await Promise.all([history.learn(), frontiers.learn()]);
    },
    truncated: (partition, offset) => history.truncated(partition, offset),
    counted(partitions, nowReadable, grownAt = Number.NEGATIVE_INFINITY) {
      movedKeys.moved(grownAt);
      const isSame = nowReadable === readable || String(nowReadable) === String(readable);
      if (partitions === partitionCount && isSame) return;
      readable = nowReadable;
      count(partitions);
    },
    async load(batch, partition) {
      if (hasOthers() && history.isDue()) await history.learn();
      const oldest = oldestOf(batch);
      shareKeys(oldest);
      const loaded = await cache.load(plans, idsOf(batch), batch.count, partition, needsOf(batch));
      demandWhole(loaded, partition);
      noticeMovedKeys(loaded, partition, oldest);
      return loaded;
    },
    cutOff(partition) {
      cache.cutOff(partition);
      behind.cutOff(partition);
    },
    held(batch, partition) {
      shareKeys(oldestOf(batch));
      return cache.held(plans, idsOf(batch), batch.count, partition);
    },
    apply(batch, loaded, partition, out, seenBefore = Number.POSITIVE_INFINITY) {
      columns.fill(batch);
      meetAncestors(partition);
      replayed?.forget(partition);
      history.began(partition, batch.times, batch.offsets, batch.count);
      const knownOfAll = history.knownFrom(ofStream);
      const knownOfOwn = history.knownFrom(ofStream, partition);
      const knownOfKeys = Math.max(knownOfOwn, Math.min(knownOfAll, movedKeys.before));
      resizeRows(out, batch.count);
      const changes = changed.get(partition)!;
      if (isRepeatRow.length < batch.count) isRepeatRow = new Uint8Array(batch.count * 2);
      let late = 0;
      let repeated = 0;
      let short = 0;
      for (row = 0; row < batch.count; row++) {
        isRepeatRow[row] = repeatsEarlier(batch, loaded, partition, changes) ? 1 : 0;
        if (isRepeatRow[row] === 1) {
          repeated++;
          continue;
        }
        const mayRepeat = loaded.entities[featurePlans]?.[row]?.unread?.has(partition) === true;
        const base = row * out.width;
        eventFeatures(set, batch, row, out, base);
        moment.time = batch.times[row];
        const areKeysShared = movedKeys.concern(moment.time);
        let isLate = false;
        for (let k = 0; k < featurePlans; k++) {
          const entity = loaded.entities[k][row];
          if (!entity) {
            evaluators[k].evaluateNone(out, base);
            continue;
          }
          const state = cache.ownSubState(entity, plans[k], partition);
          if (state.offset > batch.offsets[row]) {
            loaded.release();
            throw overtaken(partition, state.offset, batch.offsets[row]);
          }
          moment.facts = fillFacts(k, batch);
          moment.insertion = update(k, entity, state, batch, changes);
          isLate ||= moment.insertion === 'late';
          moment.own = moment.insertion === 'kept' ? state : undefined;
          // A repetition that nobody can tell from a new event counts once too often from here on.
          if (mayRepeat) markUnread(entity, partition);
          const isShared = k !== keyPlan || areKeysShared;
          moment.knownFrom = k === keyPlan ? knownOfKeys : knownOfAll;
          if (isUnread(entity)) moment.knownFrom = Number.POSITIVE_INFINITY;
          moment.seenBefore = isShared ? seenBefore : Number.POSITIVE_INFINITY;
          moment.isStale =
            entity.version === neverLoaded ||
            (entity.missing?.size ?? 0) > 0 ||
            (isShared && (entity.lost !== undefined || behind.concerns(k === keyPlan)));
          const isShort = evaluators[k].evaluate(entity.subStates, moment, out, base);
          // The latest, where entities that are shared and those that are not know unequally much.
          if (isShort && !(out.knownFrom[row] >= moment.knownFrom)) out.knownFrom[row] = moment.knownFrom;
        }
        if (!Number.isNaN(out.knownFrom[row])) short++;
        if (set.derived.length > 0) derivedFeatures(set, out, base);
        if (isLate) late++;
      }
      loaded.release();
      return { late, repeats: repeated, short, historyFrom: knownOfOwn, isRepeat: isRepeatRow };
    },
    replay(batch, loaded, partition) {
      behind.replays(partition);
      columns.fill(batch);
      meetAncestors(partition);
      history.began(partition, batch.times, batch.offsets, batch.count);
      const changes = changed.get(partition)!;
      for (row = 0; row < batch.count; row++) {
        if (repeatsEarlier(batch, loaded, partition, changes)) continue;
        for (let k = 0; k < featurePlans; k++) {
          const entity = loaded.entities[k][row];
          if (!entity) continue;
          fillFacts(k, batch);
          update(k, entity, cache.ownSubState(entity, plans[k], partition), batch, changes);
        }
      }
      loaded.release();
    },
    takeChanges(partition, through) {
      const taken = changed.get(partition) ?? [];
      // Also where nothing was taken: what is settled later on must not be what changes meanwhile.
      if (changed.has(partition)) changed.set(partition, []);
      const writer = createSubStateWriter();
      const changes = taken.map(({ plan, entity, state }) => {
        state.dirty = false;
        return { type: plan.type, id: entity.id, offset: state.offset, bytes: writer.encode(state, plan) };
      });
      return {
        // The frontier last: who sees it is to see all that it stands for.
        changes: [
          ...changes,
          ...history.take(partition),
          ...(partitionCount > 1 ? frontiers.take(partition, through) : []),
        ],
        settle() {
          for (const { entity } of taken) entity.dirty--;
        },
      };
    },
    // What is being stored may be as much again; both of all partitions are then as many entities as memory may hold.
    hasManyChanges: (partition) => (changed.get(partition)?.length ?? 0) * 2 * changed.size >= options.cacheEntities,
    dropChanges(partition) {
      for (const { entity, state } of changed.get(partition)?.splice(0) ?? []) {
        state.dirty = false;
        entity.dirty--;
      }
    },
    entities: () => cache.size(),
  };
}

const isUnread = ({ unread }: Entity) => unread !== undefined && unread.size > 0;

function overtaken(partition: string, reached: number, offset: number): WeirError {
  return new WeirError(
    'FENCED',
    `the state of partition ${partition} reaches offset ${reached} already, where offset ${offset} is to be scored: another process has gone on with it, or its position was set back without its state (weir offsets reset does both)`,
  );
}
