import { registerHooks } from 'node:module';
import { fileURLToPath } from 'node:url';

/** A deliberate fault that the simulation has to find. */
export interface Mutant {
  readonly name: string;
  readonly edits: readonly Edit[];
  /** Where to begin to look for a seed that finds it, when those before do not. */
  readonly firstSeed?: number;
}

/** Text that stands exactly once in the file, and what is to stand there instead. */
export interface Edit {
  /** From the repository's root. */
  readonly file: string;
  readonly find: string;
  readonly put: string;
}

/** A mutant of one edit. */
export const one = (name: string, file: string, find: string, put: string): Mutant => ({
  name,
  edits: [{ file, find, put }],
});

export const mutants: readonly Mutant[] = [
  one(
    'state is stored before its batch is published',
    'consumers/partition.ts',
    "  await observer.stage('publish', ",
    "  await flusher.published(raw.next);\n  await observer.stage('publish', ",
  ),
  {
    ...one(
      'a former owner is not fenced',
      'consumers/kafka/transactional-output.ts',
      'Promise.allSettled(producers.map(takeOver))',
      'Promise.allSettled([] as Promise<void>[])',
    ),
    // The brokers mostly end a former owner's transaction by themselves before it could do harm.
    firstSeed: 70,
  },
  one(
    'the position is one too far',
    'consumers/kafka/transactional-output.ts',
    'prepare(transaction, batch, position, sender, parts)',
    'prepare(transaction, batch, position + 1, sender, parts)',
  ),
  one(
    'the position is one too near',
    'consumers/kafka/transactional-output.ts',
    'prepare(transaction, batch, position, sender, parts)',
    'prepare(transaction, batch, position - 1, sender, parts)',
  ),
  one(
    'a commit without an answer is done again',
    'consumers/kafka/transactional-output.ts',
    '        throw fault(error, destination, parts);',
    '        if (isFenced(error)) throw fault(error, destination, parts);\n' +
      '        const again = transactionalProducer(client, `${parts.transactionalId}.again.${position}`, 60_000);\n' +
      '        await again.connect();\n' +
      '        const other = await again.transaction();\n' +
      '        await prepare(other, batch, position, sender, parts);\n' +
      '        await other.commit();',
  ),
  one(
    'a commit without an answer is taken for done',
    'consumers/kafka/transactional-output.ts',
    '        throw fault(error, destination, parts);',
    '        if (isFenced(error)) throw fault(error, destination, parts);',
  ),
  one(
    'the position is not part of the transaction',
    'consumers/kafka/transactional-output.ts',
    '    sendPosition(transaction, position, parts),\n',
    '    Promise.resolve(position),\n',
  ),
  one(
    'the position may still be changed by a transaction',
    'sim/kafka/client.ts',
    'const isStable = !isAskingForCarriedOut();',
    'const isStable = isAskingForCarriedOut();',
  ),
  one(
    'the fence moves before what is behind it is stored',
    'features/redis/store.ts',
    'of planFlush(changes, keys, groups, callKeys)) {',
    'of [...planFlush([], keys, groups, callKeys), ...planFlush(changes, keys, groups, callKeys)]) {',
  ),
  {
    ...one(
      'the fence is asked for after the position',
      'consumers/recovery.ts',
      '  if (fence > position) throw',
      '  if (((await parts.fence()) ?? 0) > position) throw',
    ),
    // A flush of the former owner has to end between the two questions.
    firstSeed: 120,
  },
  one(
    'recovery begins at the committed position',
    'consumers/recovery.ts',
    'const from = Math.max(fence, earliest);',
    'const from = Math.max(position, earliest);',
  ),
  one(
    'recovery publishes',
    'consumers/partition.ts',
    'const position = await beginning(parts, range, stored);',
    'const position = Math.min(fence, await beginning(parts, range, stored));',
  ),
  one(
    "a revoked partition's memory is used again",
    'consumers/serve.ts',
    '    engine.lose(name);\n    forget();',
    '    forget();',
  ),
  one(
    'older state overwrites newer',
    'sim/redis/scripts.ts',
    'if (stored !== undefined && offsetOf(stored) >= offsetOf(value)) continue;',
    '',
  ),
  {
    name: 'lost state goes unnoticed',
    edits: [
      {
        file: 'features/redis/store.ts',
        find: '        if (replies.includes(0)) throw lostState(partition);',
        put: '',
      },
      {
        file: 'features/engine.ts',
        find: 'if (entity?.lost?.includes(partition) !== true) continue;',
        put: 'continue;',
      },
    ],
  },
  one(
    'lost state is noticed when it is stored, but not when it is read',
    'features/engine.ts',
    'if (entity?.lost?.includes(partition) !== true) continue;',
    'continue;',
  ),
  one(
    'a flush of several calls may lose one that was carried out',
    'sim/redis/scripts.ts',
    'if (done < Number(before)) return 0;',
    '',
  ),
  one(
    'a record that cannot be decoded is dropped',
    'consumers/partition.ts',
    'output.publish({ events, deadLetters }, raw.next)',
    'output.publish({ events, deadLetters: deadLetters.slice(1) }, raw.next)',
  ),
  one(
    "copies of others' state are never read anew",
    'features/cache.ts',
    'return now - refreshedAt > ageMs || need.through >= frontiers.missesFrom(entity.sight);',
    'return false;',
  ),
  {
    ...one(
      'copies of what has only delayed features are used though they miss something',
      'features/needs.ts',
      'through: newest - backMs + latenessMs',
      'through: Number.NEGATIVE_INFINITY',
    ),
    // Runs where shops have only such, on several processes.
    firstSeed: 90,
  },
  one(
    'partitions ahead in time wait for nobody',
    'consumers/alignment.ts',
    'if (asksNothing || batch.count === 0',
    'if (batch.count > 0 || asksNothing || batch.count === 0',
  ),
  {
    name: 'partitions are kept although generations were missed',
    edits: [
      {
        file: 'consumers/kafka/assignment.ts',
        find: 'before.memberId !== now.memberId || missed < 0 || missed > 1',
        put: 'missed < 0',
      },
      { file: 'consumers/kafka/group-member.ts', find: '    events.expelled();', put: '' },
    ],
  },
  one(
    'at least once: the checkpoint comes before what it stands for',
    'consumers/plain-output.ts',
    '      await send(batch);',
    '      await ownership.checkpoint(position);\n      await send(batch);',
  ),
  one(
    'at least once: state is stored before the checkpoint',
    'features/flusher.ts',
    'if (options.beforeFlush) await options.beforeFlush();',
    '',
  ),
  one(
    'deleted history goes unsaid',
    'consumers/recovery.ts',
    'if (from > fence) parts.engine.truncated(name, from);',
    '',
  ),
  one(
    'what changes while nothing is flushed counts as stored',
    'features/engine.ts',
    'if (changed.has(partition)) changed.set(partition, []);',
    'if (taken.length > 0) changed.set(partition, []);',
  ),
  one('records that were lost are not counted', 'consumers/partition.ts', '  observer.lost(lost.from, lost.to);', ''),
  {
    ...one(
      'records that were lost leave no mark',
      'consumers/partition.ts',
      '  engine.truncated(partitionName(ownership), lost.to);',
      '',
    ),
    // A new owner finds out by itself: they have to be lost to one that goes on.
    firstSeed: 90,
  },
  one(
    'what is applied without the store is stored',
    'features/flusher.ts',
    '      if (isDegraded) engine.dropChanges(partition);\n      if (isDegraded || flushing) return;\n      if (isUrgent || clock.monotonic() - startedAt >= intervalMs) void begin();',
    '      if (flushing) return;\n      if (isDegraded || clock.monotonic() - startedAt >= intervalMs) void begin();',
  ),
  one(
    'what memory lacks without the store goes unsaid',
    'features/cache.ts',
    'if (isShort(entity, reach, partition) || entity.serial > whole) markUnread(entity, partition);',
    ';',
  ),
  {
    ...one(
      'what a frontier vouches for is not asked of the store',
      'features/redis/store.ts',
      'Math.max(known[group], through)',
      'known[group]',
    ),
    // A fail-over, a process that has never seen the fence, and a look before the repair.
    firstSeed: 1_200,
  },
  {
    ...one(
      'what a recovery finds stored beyond the fence is not stored again',
      'features/engine.ts',
      '    if (!state.dirty) {\n      state.dirty = true;\n      entity.dirty++;',
      '    if (!state.dirty && offset >= state.offset) {\n      state.dirty = true;\n      entity.dirty++;',
    ),
    // A fail-over during a recovery loses state behind which the fence had not come yet.
    firstSeed: 5_250,
  },
  one(
    'a process that comes later does not know that the topic has grown',
    'consumers/kafka/growth.ts',
    'if (marks.length === 0) return false;',
    'if (marks.length >= 0) return false;',
  ),
  one(
    'what was deleted of moved keys goes unsaid',
    'features/engine.ts',
    'k === keyPlan ? knownOfKeys : knownOfAll',
    'k === keyPlan ? knownOfOwn : knownOfAll',
  ),
  one(
    'the cache evicts nothing',
    'features/cache.ts',
    'if (entity.pins > 0 || entity.dirty > 0) kept.set(id, entity);',
    'kept.set(id, entity);',
  ),
  one(
    'records are fetched however many are held',
    'consumers/kafka/owned-partition.ts',
    'isPaused ||= prefetch.isFull;',
    '',
  ),
  {
    ...one(
      'a partition goes on while the store refuses what it has changed',
      'features/flusher.ts',
      '(hasTrouble || engine.hasManyChanges(partition))',
      'engine.hasManyChanges(partition)',
    ),
    // Whoever cannot store mostly cannot load either, and waits for that.
    firstSeed: 600,
  },
  one(
    'a partition goes on however much waits for a slow flush',
    'features/flusher.ts',
    '(hasTrouble || engine.hasManyChanges(partition))',
    'hasTrouble',
  ),
];

/**
 * From now on the mutant's files are loaded with its edits; they must not be loaded yet.
 * @returns what is to be called when all is loaded; it throws when an edit was not made.
 * @throws Error, at the load, when what is to be edited does not stand there once: the code has moved on, and the mutant has to follow.
 */
export function install({ name, edits }: Mutant): () => void {
  const left = new Set(edits);
  registerHooks({
    load(url, context, nextLoad) {
      const loaded = nextLoad(url, context);
      const own = edits.filter(({ file }) => url.endsWith(`/${file}`));
      if (own.length === 0) return loaded;
      let source = String(loaded.source);
      for (const edit of own) {
        const { find, put } = edit;
        left.delete(edit);
        const parts = source.split(find);
        if (parts.length !== 2) {
          throw new Error(
            `the mutant "${name}" wants to edit ${fileURLToPath(url)} where this stands ${parts.length - 1} times: ${find}`,
          );
        }
        source = parts.join(put);
      }
      return { ...loaded, source };
    },
  });
  return () => {
    for (const { file } of left) throw new Error(`the mutant "${name}" wants to edit ${file}, which is not loaded`);
  };
}
