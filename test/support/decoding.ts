import { eventConfig } from '../../consumers/decode/config.ts';
import { createDecoder } from '../../consumers/decode/decoder.ts';
import type { RawBatch, RecordFormat } from '../../consumers/ports.ts';

export const json: RecordFormat = { type: 'json' };
export const at = { stream: 'transactions', partition: 3 };

/** A mapping with every kind of column, and a record that it takes. */
export const config = {
  id: '$.id',
  time: { path: '$.ts', unit: 'ms' },
  kind: { path: '$.kind', map: { auth: 'authorization', refund: 'refund', '7': 'reversal', true: 'confirmed' } },
  fields: {
    amount: { path: '$.amount', type: 'money', scale: 2 },
    fraud: { path: '$.fraud', type: 'flag', optional: true },
    device: { path: '$.device.id', type: 'text', optional: true },
    score: { path: '$.scores[1]', type: 'number', scale: 3, optional: true },
    ip: { path: "$['client.ip']", type: 'text', optional: true },
  },
  entities: { card: { key: '$.card' }, account: { key: '$.account', optional: true } },
};

export const good = { id: 't-1', ts: 1_700_000_000_000, kind: 'auth', amount: '57.16', card: 'c-9' };

/** The values as a batch: offsets from 100 on, every second one. */
export function rawBatch(values: readonly (Buffer | null)[], timestamp = Number.NaN): RawBatch {
  return {
    values,
    keys: values.map((_, index) => Buffer.from(`key-${index}`)),
    offsets: values.map((_, index) => 100 + 2 * index),
    timestamps: values.map(() => timestamp),
    next: 100 + 2 * values.length,
    end: 1000,
  };
}

/** Decodes the records by the config, sections of which may be replaced. */
export function decode(
  records: readonly unknown[],
  { format = json, timestamp = Number.NaN, ...sections }: Settings = {},
) {
  const decoder = createDecoder(eventConfig.parse({ ...config, ...sections }), format);
  const bytes = records.map((record) => (record === null ? null : asBytes(record)));
  const { batch, deadLetters } = decoder.decode(rawBatch(bytes, timestamp), at);
  const field = (name: string) => decoder.layout.fields.findIndex((candidate) => candidate.name === name);
  return {
    batch,
    deadLetters,
    numbers: (name: string) => [...batch.numbers[field(name)].subarray(0, batch.count)],
    texts: (name: string) => batch.texts[field(name)],
  };
}

export interface Settings {
  readonly format?: RecordFormat;
  readonly timestamp?: number;
  readonly [section: string]: unknown;
}

export function asBytes(record: unknown): Buffer {
  if (Buffer.isBuffer(record)) return record;
  return Buffer.from(typeof record === 'string' ? record : JSON.stringify(record));
}
