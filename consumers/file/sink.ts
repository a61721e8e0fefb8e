import { WeirError } from '../../runtime/errors.ts';
import { structuredEvent } from '../../scoring/cloud-event.ts';
import { deadLetterLine } from '../dead-letter-line.ts';
import { type Output, type OutputBatch, partitionName, type Sink } from '../ports.ts';
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
  return Buffer.from(deadLetters.map((letter) => deadLetterLine(letter)).join(''));
}
