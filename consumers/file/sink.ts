import { isUtf8 } from 'node:buffer';
import { WeirError } from '../../runtime/errors.ts';
import { structuredEvent } from '../../scoring/cloud-event.ts';
import { type DeadLetter, type Output, type OutputBatch, partitionName, type Sink } from '../ports.ts';
import type { FileSinkConfig } from './config.ts';
import { type OutputFiles, openOutputFiles } from './output-files.ts';

export interface FileSinkOptions {
  readonly job: string;
}

/**
 * Risk events and dead letters as lines of two files, exactly once: a checkpoint beside them holds the input positions and the
 * lengths of both files, and opening cuts them back to it. Only one process at a time has them open.
 */
export function createFileSink(config: FileSinkConfig, { job }: FileSinkOptions): Sink {
  let files: Promise<OutputFiles> | undefined;
  let isClosed = false;
  return {
    async open(ownership): Promise<Output> {
      if (isClosed) throw new WeirError('INTERNAL', `the output ${config.path} is closed`);
      files ??= openOutputFiles(config);
      const opened = await files;
      const name = partitionName(ownership);
      const { mark } = ownership;
      const kept = opened.input(name);
      if (kept !== undefined && mark !== undefined && !(await mark.continues(kept))) {
        throw new WeirError(
          'INPUT',
          `${ownership.stream} is another input than the one of this name that was read into ${config.path} before: give the file another name, or begin anew with other output files and another state`,
        );
      }
      return {
        position: async () => opened.position(name),
        publish: (batch, position) =>
          opened.append(
            { partition: name, position, input: mark?.text },
            eventLines(job, batch),
            deadLetterLines(batch),
          ),
        sync: () => opened.save(),
        async close() {},
      };
    },
    async close() {
      if (isClosed) return;
      isClosed = true;
      // What could not be opened has said so, and holds nothing.
      const opened = await files?.catch(() => undefined);
      await opened?.close();
    },
  };
}

function eventLines(job: string, { events }: OutputBatch): Buffer {
  return Buffer.concat(events.flatMap((event) => structuredEvent(job, event)));
}

function deadLetterLines({ deadLetters }: OutputBatch): Buffer {
  return Buffer.from(deadLetters.map(deadLetterLine).join(''));
}

function deadLetterLine({ key, value, reason, message, stream, partition, offset }: DeadLetter): string {
  return `${JSON.stringify({ reason, message, stream, partition, offset, key: asText(key), ...asValue(value) })}\n`;
}

function asText(bytes: Buffer | null): string | null {
  return bytes === null ? null : bytes.toString('utf8');
}

/** Original bytes: as text where they are UTF-8, else in base64. */
function asValue(bytes: Buffer | null): { value: string | null; encoding?: 'base64' } {
  if (bytes === null) return { value: null };
  return isUtf8(bytes) ? { value: bytes.toString('utf8') } : { value: bytes.toString('base64'), encoding: 'base64' };
}
