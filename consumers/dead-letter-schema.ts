import { z } from 'zod';
import type { DeadLetterReason } from './ports.ts';

/** Why a record could not be scored. */
export const deadLetterReasons: Readonly<Record<DeadLetterReason, string>> = {
  'not-json': 'not a JSON object, or not a CSV row of as many columns as the header',
  'missing-field': 'a value that the mapping needs is not there',
  'wrong-type': 'a value cannot be read as what the mapping says',
  'out-of-range': 'NaN, infinite, negative or huge, too many decimals, or a time out of the calendar',
  'unknown-kind': 'a kind that the mapping does not know',
  'empty-id': 'an id is empty',
  'future-time':
    'the event time is further ahead of the broker than `event.time.max_ahead_ms`, or later than `event.time.max`',
  oversized: 'longer than `event.max_bytes`, or with a key of more than half of `sink.kafka.max_message_bytes`',
  'no-value': 'the record has no value',
  'no-score': 'the model answers something that is no probability; the transaction counts in the state',
};

/** Open for the reader: there may be more reasons some day. */
const reason = z.string().meta({
  description: `Which kind of fault. ${Object.entries(deadLetterReasons)
    .map(([name, meaning]) => `${name}: ${meaning}`)
    .join('. ')}`,
  examples: Object.keys(deadLetterReasons),
});
const message = z.string().meta({ description: 'What is wrong and where in the record, for a person' });
const stream = z.string().meta({ description: 'Topic or file that the record was read from' });

/** A dead letter in a file, one a line, or as a Kinesis record. */
export const deadLetterLine = z
  .strictObject({
    reason,
    message,
    stream,
    partition: z.int().min(0),
    offset: z.int().min(0),
    key: z.string().nullable().meta({ description: "The record's key as UTF-8" }),
    value: z.string().nullable().meta({ description: 'The original bytes: text where they are UTF-8, else base64' }),
    encoding: z.literal('base64').optional().meta({ description: 'How `value` is written, when it is not text' }),
    truncated_from: z.int().min(1).optional().meta({
      description:
        'Only where the original does not fit a Kinesis record: how many bytes it has. The value is its beginning then, and a key of more than an eighth of the limit is left out',
    }),
  })
  .meta({ title: 'Weir dead letter', description: 'An input record that could not be scored, kept whole' });

/** Headers of a dead letter in Kafka; its key and value are the original bytes, as many of them as a broker takes. */
export const deadLetterHeaders = z.strictObject({
  'weir-reason': reason,
  'weir-message': message,
  'weir-stream': stream,
  'weir-partition': z.string().regex(/^\d+$/).meta({ description: 'Partition that it was read from, decimal digits' }),
  'weir-offset': z.string().regex(/^\d+$/).meta({ description: 'Offset that it was read from, decimal digits' }),
  'weir-timestamp': z
    .string()
    .regex(/^\d+$/)
    .optional()
    .meta({ description: "The record's own timestamp, milliseconds since the epoch; absent where it had none" }),
  'weir-truncated': z.string().regex(/^\d+$/).optional().meta({
    description:
      'Only where the original does not fit `sink.kafka.max_message_bytes`: how many bytes the original value has, decimal digits. The value is its beginning then, and so is a key of more than half the limit',
  }),
});

/** Headers of a mark: a record of the same topic, without key and value, which says that a dead letter was put back into its topic. */
export const replayMarkHeaders = z.strictObject({
  'weir-replayed': z
    .string()
    .regex(/^\d+$/)
    .meta({ description: 'Offset that the record has now, in the same stream and partition, decimal digits' }),
  'weir-stream': deadLetterHeaders.shape['weir-stream'],
  'weir-partition': deadLetterHeaders.shape['weir-partition'],
  'weir-offset': deadLetterHeaders.shape['weir-offset'],
});
