import { z } from 'zod';
import { filePath } from '../../runtime/config/path.ts';

export const fileSourceConfig = z.strictObject({
  path: filePath().meta({ description: 'JSON Lines or CSV, either also gzipped; a CSV file begins with a header row' }),
  format: z.enum(['jsonl', 'csv']).optional().meta({ description: 'By the file name unless stated' }),
  delimiter: z
    .string()
    .regex(/^[^"\r\n\u0080-\uffff]$/, 'one ASCII character, not a quote')
    .default(',')
    .meta({ description: 'Column delimiter of CSV' }),
});

/** What output-files.ts keeps beside the risk events. */
const besides = ['.checkpoint', '.checkpoint.next', '.lock'];

export const fileSinkConfig = z
  .strictObject({
    path: filePath().meta({
      description: 'Risk events, one CloudEvent in structured JSON a line; `<path>.checkpoint` holds the position',
    }),
    dead_letters: filePath().meta({ description: 'Dead letters, one JSON object a line' }),
  })
  .refine(({ path, dead_letters }) => path !== dead_letters, {
    message: 'path and dead_letters are the same file',
  })
  .refine(({ path, dead_letters }) => !besides.some((ending) => dead_letters === `${path}${ending}`), {
    path: ['dead_letters'],
    message: `it is one of the files that stand beside path: ${besides.map((ending) => `<path>${ending}`).join(', ')}`,
  });

export type FileSourceConfig = z.output<typeof fileSourceConfig>;
export type FileSinkConfig = z.output<typeof fileSinkConfig>;
