import { mkdtempSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Command } from 'commander';
import type { CompiledJob } from '../consumers/compile.ts';
import { openSource, openStore } from '../consumers/components.ts';
import { runParts } from '../consumers/job.ts';
import type { Output, Sink } from '../consumers/ports.ts';
import { describeError, WeirError } from '../runtime/errors.ts';
import { stopSignal } from '../runtime/stop-signal.ts';
import type { ScoredEvent, Scorer } from '../scoring/scorer.ts';
import { type JobFlags, loadJobFrom, surroundingsOf, withJobOptions } from './job-options.ts';

interface Flags extends JobFlags {
  readonly out: string;
  readonly format?: string;
}

const examples = `
Examples:
  $ weir features --config examples/demo/weir.yaml --out features.csv
  $ weir features --config examples/handbook/weir.yaml --set source.file.path=history.csv.gz --out features.jsonl

Applies a file of transactions from its beginning, with state of its own, and writes each transaction's features as the
job would compute them: transaction_id, event_time (ms), label (where the job names one), then the features in order.
Beside the file, FILE.json says what each feature is. scoring/training/train.py makes a model of the two.`;

/** `weir features export`, or `weir features` with options: exports the features of a recorded stream, for training. */
export function exportCommand(): Command {
  return withJobOptions(new Command('export').description("export a recorded stream's features, for training"))
    .requiredOption('-o, --out <file>', 'file to write')
    .option('--format <name>', 'csv or jsonl (default: by the ending of --out)')
    .addHelpText('after', examples)
    .action(exportFeatures);
}

async function exportFeatures(flags: Flags): Promise<void> {
  const job = loadJobFrom(flags);
  const { config, set } = job;
  if (!config.source.file) {
    throw new WeirError('CONFIG', 'weir features reads a file: --set source.kafka=null --set source.file.path=FILE');
  }
  const format = formatOf(flags);
  const surroundings = surroundingsOf(job);
  const folder = mkdtempSync(join(tmpdir(), 'weir-features-'));
  const signal = stopSignal(surroundings.clock);
  const render = format === 'csv' ? csvRenderer(job) : jsonRenderer(job);
  const path = draftOf(flags.out);
  const file = await openOut(path);
  try {
    const store = await openStore(withStateIn(job, folder), surroundings);
    const source = await openSource(job, surroundings);
    const sink = lineSink(file, path);
    if (render.header !== undefined) await file.write(render.header);
    const summary = await runParts(
      job,
      { store, scorer: rowScorer(job, render.line), source, sink },
      {
        ...surroundings,
        untilEnd: true,
        signal,
      },
    );
    await source.close();
    await store.close();
    if (signal.aborted) throw new WeirError('OUTPUT', `stopped half-way: ${flags.out} is not written`);
    if (path !== flags.out) renameSync(path, flags.out);
    const { job: name } = config;
    const { published: rows, deadLetters } = summary;
    const described = { job: name, rows, names: set.names, definitions: set.definitions, hash: set.hash };
    writeFileSync(`${flags.out}.json`, `${JSON.stringify(described, undefined, 1)}\n`);
    const skipped = deadLetters === 0 ? '' : `; ${deadLetters} records could not be read and are left out`;
    process.stderr.write(`${rows} transactions, ${set.names.length} features each, in ${flags.out}${skipped}\n`);
  } finally {
    await file.close();
    if (path !== flags.out) rmSync(path, { force: true });
    rmSync(folder, { recursive: true, force: true });
  }
}

/** The job with a store of its own for as long as the export lasts. */
function withStateIn(job: CompiledJob, folder: string): CompiledJob {
  const state = { ...job.config.state, redis: undefined, embedded: { path: folder } };
  return { ...job, config: { ...job.config, state } };
}

function formatOf({ format, out }: Flags): 'csv' | 'jsonl' {
  if (format === 'csv' || format === 'jsonl') return format;
  if (format !== undefined) throw new WeirError('CONFIG', `--format wants csv or jsonl, not ${format}`);
  if (out.endsWith('.csv')) return 'csv';
  if (out.endsWith('.jsonl')) return 'jsonl';
  throw new WeirError('CONFIG', `the format does not show in the name ${out}: add --format csv or --format jsonl`);
}

/** Where the export is made: a file is there whole or not at all. What is no file (a pipe, a device) is written directly. */
function draftOf(out: string): string {
  const isFile = statSync(out, { throwIfNoEntry: false })?.isFile() ?? true;
  return isFile ? `${out}.partial` : out;
}

async function openOut(path: string): Promise<FileHandle> {
  try {
    return await open(path, 'w');
  } catch (error) {
    throw new WeirError('OUTPUT', `${path} cannot be written: ${describeError(error)}`, { cause: error });
  }
}

interface Row {
  readonly id: string;
  readonly time: number;
  /** NaN where the job names no label. */
  readonly label: number;
  readonly features: Float64Array;
}

interface Renderer {
  readonly header?: string;
  line(row: Row): string;
}

function csvRenderer({ set }: CompiledJob): Renderer {
  const cell = (text: string) => (/[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
  return {
    header: `${['transaction_id', 'event_time', 'label', ...set.names].join(',')}\n`,
    line: ({ id, time, label, features }) =>
      `${cell(id)},${time},${Number.isNaN(label) ? '' : label},${features.join(',')}\n`,
  };
}

function jsonRenderer({ set }: CompiledJob): Renderer {
  return {
    line({ id, time, label, features }) {
      const named = Object.fromEntries(set.names.map((name, index) => [name, features[index]]));
      const row = { transaction_id: id, event_time: time, label: Number.isNaN(label) ? null : label, features: named };
      return `${JSON.stringify(row)}\n`;
    },
  };
}

/** Stands where a job has its model: the rows themselves are what comes out. */
function rowScorer({ config, set }: CompiledJob, line: Renderer['line']): Scorer {
  const labelField = set.layout.fields.findIndex(({ name }) => name === config.event.label);
  return {
    width: set.names.length,
    score: async ({ count }) => new Float32Array(count),
    async decide(batch, { values, width }, probabilities) {
      const events = batch.ids.map((id, row): ScoredEvent => {
        const label = labelField < 0 ? Number.NaN : batch.numbers[labelField][row];
        const features = values.subarray(row * width, (row + 1) * width);
        return { id, time: '', data: Buffer.from(line({ id, time: batch.times[row], label, features })) };
      });
      return { probabilities, decisions: new Uint8Array(batch.count), events };
    },
    async close() {},
  };
}

/** Lines as they come; the export is made in one go or again. */
function lineSink(file: FileHandle, path: string): Sink {
  const output: Output = {
    position: async () => undefined,
    async publish({ events }) {
      try {
        await file.writeFile(Buffer.concat(events.map(({ data }) => data)));
      } catch (error) {
        throw new WeirError('OUTPUT', `writing ${path} failed: ${describeError(error)}`, { cause: error });
      }
    },
    async close() {},
  };
  return { open: async () => output, async close() {} };
}
