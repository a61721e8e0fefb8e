import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from '@jest/globals';

const root = fileURLToPath(new URL('../..', import.meta.url));
const folders = ['cli', 'consumers', 'features', 'infra', 'runtime', 'scoring', 'sim', 'simulator'];

function filesBelow(folder: string, ending: string): string[] {
  return readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith(ending))
    .map((entry) => relative(root, join(entry.parentPath, entry.name)))
    .filter((path) => !path.includes('node_modules'));
}

const sources = folders.flatMap((folder) => filesBelow(folder, '.ts'));
const all = [...sources, ...['test', 'bench'].flatMap((folder) => filesBelow(folder, '.ts'))];
const read = (path: string) => readFileSync(join(root, path), 'utf8');
const importsOf = (path: string) =>
  [...read(path).matchAll(/(?:from|import|URL)\s*\(?\s*'(\.[^']+\.\w+)'/g)].map((match) =>
    relative(root, resolve(root, dirname(path), match[1])),
  );

/** Who may import whom: each folder only those behind it in its row. */
const allowed: Record<string, readonly string[]> = {
  runtime: ['runtime'],
  features: ['features', 'runtime'],
  scoring: ['scoring', 'features', 'runtime'],
  consumers: ['consumers', 'scoring', 'features', 'runtime'],
  simulator: ['simulator', 'runtime'],
  cli: ['cli', 'simulator', 'consumers', 'scoring', 'features', 'runtime'],
  sim: ['sim', 'cli', 'consumers', 'scoring', 'features', 'runtime'],
  infra: ['infra', 'runtime'],
};

/** Pure files: no clock, no chance, no I/O. */
const pure = [
  'features/sub-state.ts',
  'features/evaluate.ts',
  'features/codec.ts',
  'features/plan.ts',
  'features/plan-builder.ts',
  'features/definition.ts',
  'features/predicate.ts',
  'features/hash.ts',
  'features/duration.ts',
  'consumers/decode/decoder.ts',
  'consumers/file/framing.ts',
  'consumers/kinesis/balance.ts',
  'consumers/kinesis/checkpoint.ts',
  'consumers/kinesis/lease-change.ts',
  'consumers/kinesis/lease-outcome.ts',
  'consumers/kinesis/lease-view.ts',
  'consumers/kinesis/lease.ts',
  'consumers/kinesis/shards.ts',
  'consumers/kinesis/table-mode.ts',
  'scoring/policy.ts',
  'scoring/risk-event.ts',
  'runtime/expression.ts',
  'runtime/expression-syntax.ts',
];

describe('the tree', () => {
  it('imports one way: cli -> consumers -> scoring -> features -> runtime', () => {
    const faults = sources.flatMap((path) =>
      importsOf(path)
        .filter((target) => !allowed[path.split('/')[0]].includes(target.split('/')[0]))
        .map((target) => `${path} imports ${target}`),
    );
    expect(faults).toEqual([]);
  });

  it('keeps clock, chance and I/O out of pure files', () => {
    for (const path of pure) expect({ path, exists: existsSync(join(root, path)) }).toEqual({ path, exists: true });
    const banned =
      /Date\.now|new Date\(\)|performance\.now|Math\.random|setTimeout|from 'node:(fs|net|http|child_process|timers)/;
    expect(pure.filter((path) => banned.test(read(path)))).toEqual([]);
  });

  it('reads the clock and throws dice only where they are made into arguments', () => {
    const at = ['runtime/clock.ts'];
    expect(
      sources.filter(
        (path) => !path.startsWith('infra/') && !at.includes(path) && /Date\.now\(|Math\.random\(/.test(read(path)),
      ),
    ).toEqual([]);
  });

  it('waits by the clock that it is given, but for adapters of what is outside', () => {
    const core = sources.filter((path) => /^(consumers|features|scoring)\/[\w-]+\.ts$/.test(path));
    expect(core.length).toBeGreaterThan(50);
    expect(core.filter((path) => /setTimeout|setInterval|node:timers/.test(read(path)))).toEqual([]);
  });

  it('makes clients of Kafka in two places, which mend them first', () => {
    expect(all.filter((path) => /new Kafka\(/.test(read(path))).sort()).toEqual([
      'consumers/kafka/client.ts',
      'runtime/kafka-client.ts',
    ]);
  });

  it('has no file that nothing imports', () => {
    const entries =
      /^(cli\/(weir|schemas)\.ts|infra\/(build|services\/cli)\.ts|bench\/bench\.ts|sim\/cli\.ts)$|\.test\.ts$/;
    const imported = new Set(all.flatMap(importsOf));
    const named = ['package.json', 'jest.config.js', ...filesBelow('infra', '.ts')].map(read).join('\n');
    const dead = all.filter(
      (path) => !entries.test(path) && !imported.has(path) && !named.includes(path.split('/').at(-1)!),
    );
    expect(dead).toEqual([]);
  });

  it('names only paths that exist in its documents', () => {
    const documents = ['README.md', 'SPEC.md', ...filesBelow('docs', '.md')];
    const pattern =
      /(?<![\w./-])((?:bench|cli|consumers|docs|examples|features|infra|runtime|scoring|sim|simulator|test)\/[\w./-]*[\w/])/g;
    const faults = documents.flatMap((path) =>
      [...read(path).matchAll(pattern)]
        .filter(([, named]) => !existsSync(join(root, named)))
        .map(([, named]) => `${path} names ${named}`),
    );
    expect(faults).toEqual([]);
  });

  it('has no mark of a merge that was not settled', () => {
    const texts = [...all, 'README.md', 'SPEC.md', ...filesBelow('docs', '.md')];
    expect(texts.filter((path) => /^(?:<{7}|>{7}) /m.test(read(path)))).toEqual([]);
  });

  it('keeps every file below 500 lines', () => {
    expect(all.filter((path) => read(path).split('\n').length > 500)).toEqual([]);
  });
});
