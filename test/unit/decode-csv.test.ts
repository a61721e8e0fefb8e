import { describe, expect, it } from '@jest/globals';
import { eventConfig } from '../../consumers/decode/config.ts';
import { createDecoder } from '../../consumers/decode/decoder.ts';
import type { RecordFormat } from '../../consumers/ports.ts';
import { config, decode } from '../support/decoding.ts';

describe('CSV', () => {
  const format: RecordFormat = { type: 'csv', columns: ['id', 'ts', 'amount', 'card', 'name'], delimiter: ',' };
  const mapping = {
    kind: { const: 'authorization' },
    fields: {
      amount: { path: '$.amount', type: 'money', scale: 2 },
      name: { path: '$.name', type: 'text', optional: true },
    },
    entities: { card: { key: '$.card' } },
    format: 'csv',
  };
  const rows = (...lines: (string | Buffer)[]) => decode(lines, { ...mapping, format });

  it('is read by column names', () => {
    const { batch, numbers, texts, deadLetters } = rows(
      '1,1700000000000,5.10,c,Ann',
      '2,1700000000001,,c,',
      '3,1700000000002,6,c,',
    );
    expect(batch.ids).toEqual(['1', '3']);
    expect(numbers('amount')).toEqual([510, 600]);
    expect(texts('name')).toEqual(['Ann', '']);
    expect(deadLetters.map(({ reason, message }) => [reason, message])).toEqual([
      ['missing-field', 'amount at $.amount: the value is missing'],
    ]);
  });

  it('may quote cells', () => {
    const { batch, texts } = rows(
      '"1",1700000000000,"5.10",c,"Ann ""A"", O\nB"',
      '2,1700000000000,1,"c,d",5" pipe',
      '3,1700000000000,1,c,\n',
    );
    expect(batch.ids).toEqual(['1', '2', '3']);
    expect(texts('name')).toEqual(['Ann "A", O\nB', '5" pipe', '']);
    expect(batch.entityIds[0]).toEqual(['c', 'c,d', 'c']);
  });

  it.each([
    ['1,1700000000000,5.10,c', 'not-json', 'expected 5 columns as in the header, got 4'],
    ['1,1700000000000,5.10,c,a,b', 'not-json', 'expected 5 columns as in the header, got 6'],
    ['1,1700000000000,5.10,c,"a', 'not-json', 'not CSV: Quoted field unterminated'],
    ['1,1700000000000,5.10,c,"a"b', 'not-json', /^not CSV: /],
    ['1,1700000000000,5.10,c,a"\n2,1,1,c,', 'not-json', 'expected one CSV row, got 2: a quote is out of place'],
    ['', 'not-json', 'expected 5 columns as in the header, got 1'],
    ['"', 'not-json', /^not CSV: /],
    [',1700000000000,5.10,c,a', 'empty-id', 'id at $.id: the id is empty'],
    ['1,1700000000000,5.10,,a', 'empty-id', 'card at $.card: the id is empty'],
    ['1,,5.10,c,a', 'missing-field', 'time at $.ts: the value is missing'],
  ])('that is bad: %j', (line, reason, message) => {
    const { deadLetters } = rows(line);
    expect(deadLetters).toHaveLength(1);
    expect(deadLetters[0].reason).toBe(reason);
    if (typeof message === 'string') expect(deadLetters[0].message).toBe(message);
    else expect(deadLetters[0].message).toMatch(message);
    expect(deadLetters[0].value).toEqual(Buffer.from(line));
  });

  it('that is not UTF-8 is a dead letter, not another name', () => {
    const { deadLetters } = rows(Buffer.from('1,1700000000000,5.10,c\xe9,a', 'latin1'));
    expect(deadLetters[0]).toMatchObject({ reason: 'not-json', message: 'the bytes are not UTF-8' });
    expect(rows('1,1700000000000,5.10,c\ufffd,a').deadLetters).toEqual([]);
  });

  it('without a mapped column is a fault of the config, found before any record', () => {
    const open = (columns: string[]) => () =>
      createDecoder(eventConfig.parse({ ...config, ...mapping }), { ...format, columns });
    expect(open(['id', 'ts', 'amuont', 'card', 'name'])).toThrow(
      expect.objectContaining({
        code: 'CONFIG',
        message:
          'event.fields.amount.path is $.amount, but the CSV input has no column amount (did you mean amuont?); its columns are id, ts, amuont, card, name',
      }),
    );
    expect(open(['id', 'ts', 'amount', 'name'])).toThrow(/^event\.entities\.card\.key is \$\.card/);
    expect(open(['ts', 'amount', 'card', 'name'])).toThrow(/^event\.id is \$\.id/);
  });
});
