import { basename } from 'node:path';
import { WeirError } from '../../runtime/errors.ts';
import type { Ownership, RawBatch, Source } from '../ports.ts';
import type { FileSourceConfig } from './config.ts';
import { type InputFile, openInput } from './input.ts';

export interface FileSourceOptions {
  /** Most records of a batch. */
  readonly maxEvents: number;
  /** Records longer than this are cut just behind it. Bytes. */
  readonly maxRecordBytes: number;
}

/**
 * A file as a stream of one partition: offset n is the n-th record, from 0. It is read once, to its end, and its partition is
 * yielded once. The position is the sink's to keep.
 */
export function createFileSource(config: FileSourceConfig, options: FileSourceOptions): Source {
  let owned: Ownership | undefined;
  return {
    async *ownerships(signal) {
      const input = await openInput(config, options.maxRecordBytes);
      if (signal.aborted) return;
      owned = createOwnership(config.path, input, options.maxEvents);
      yield owned;
    },
    async close() {
      await owned?.release();
    },
  };
}

function createOwnership(path: string, input: InputFile, maxEvents: number): Ownership {
  const stream = basename(path);
  const revocation = new AbortController();
  let records: AsyncGenerator<Buffer[]> | undefined;
  let pending: Buffer[] = [];
  let taken = 0;
  let next = 0;
  let end = Number.POSITIVE_INFINITY;

  function assertOwned(): void {
    if (revocation.signal.aborted) throw new WeirError('FENCED', `the file ${stream} was closed`);
  }

  /** Makes sure that a record is pending; false at the end of the file. */
  async function refill(): Promise<boolean> {
    while (taken >= pending.length) {
      const { done, value } = await records!.next();
      assertOwned();
      if (done) {
        end = next;
        return false;
      }
      pending = value;
      taken = 0;
    }
    return true;
  }

  async function seek(position: number): Promise<void> {
    if (!records || next > position) {
      await records?.return(undefined);
      records = input.records();
      pending = [];
      taken = 0;
      next = 0;
    }
    while (next < position && (await refill())) {
      const skipped = Math.min(position - next, pending.length - taken);
      taken += skipped;
      next += skipped;
    }
    if (next < position) {
      throw new WeirError(
        'INPUT',
        `the input file ${path} has ${next} records, but ${position} were read from it before: restore it, or begin anew with other output files`,
      );
    }
  }

  return {
    stream,
    partition: 0,
    partitions: 1,
    format: input.format,
    mark: input.mark,
    revoked: revocation.signal,
    // The end of a file shows when it is reached.
    range: async () => ({ earliest: 0, end: Number.POSITIVE_INFINITY }),
    async read(position): Promise<RawBatch> {
      assertOwned();
      try {
        await seek(position);
        const values: Buffer[] = [];
        while (values.length < maxEvents && (values.length === 0 || taken < pending.length) && (await refill())) {
          const count = Math.min(pending.length - taken, maxEvents - values.length);
          for (let k = 0; k < count; k++) values.push(pending[taken++]);
          next += count;
        }
        return batchOf(values, next, end);
      } catch (error) {
        // A reader that has failed gives nothing more: the next read begins with another one.
        records = undefined;
        throw error;
      }
    },
    checkpointed: async () => undefined,
    async checkpoint() {
      throw new WeirError('INTERNAL', 'a file keeps no position; the sink has to');
    },
    async release() {
      revocation.abort();
      await records?.return(undefined);
      records = undefined;
      pending = [];
    },
  };
}

function batchOf(values: Buffer[], next: number, end: number): RawBatch {
  const first = next - values.length;
  return {
    values,
    keys: values.map(() => null),
    offsets: values.map((_, index) => first + index),
    timestamps: values.map(() => Number.NaN),
    next,
    end,
  };
}
