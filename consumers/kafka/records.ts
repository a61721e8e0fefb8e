import type { OutputEvent } from '../ports.ts';
import type { SentLetter } from './fitting.ts';
import { headerLayout, type RecordLayout } from './record-batch.ts';

/** CloudEvents 1.0, Kafka protocol binding, binary mode: attributes are headers, the value is the data. */
export function eventLayout(source: string, type: string): RecordLayout<OutputEvent> {
  const attributes = { ce_specversion: '1.0', ce_source: source, ce_type: type, 'content-type': 'application/json' };
  const headers = headerLayout(attributes, ['ce_id', 'ce_time']);
  return {
    key: (event) => event.key,
    value: (event) => event.data,
    headers: () => headers,
    header: (event, n) => (n === 0 ? event.id : event.time),
  };
}

const letterHeaders = ['weir-reason', 'weir-message', 'weir-stream', 'weir-partition', 'weir-offset'];

/** By whether the record had a timestamp, and then by whether the letter is cut. */
const layoutsOfLetters = [[], ['weir-timestamp']].map((timestamp) =>
  [[], ['weir-truncated']].map((truncated) => headerLayout({}, [...letterHeaders, ...timestamp, ...truncated])),
);

/** Kafka says -1 for none: messages of the oldest formats. */
const hasTimestamp = ({ timestamp }: SentLetter) => timestamp >= 0;

/** The original key and value, and why and whence as headers. */
export const deadLetterLayout: RecordLayout<SentLetter> = {
  key: (letter) => letter.key,
  value: (letter) => letter.value,
  headers: (letter) => layoutsOfLetters[hasTimestamp(letter) ? 1 : 0][letter.truncatedFrom === undefined ? 0 : 1],
  header(letter, n) {
    if (n === 0) return letter.reason;
    if (n === 1) return letter.message;
    if (n === 2) return letter.stream;
    if (n === 3) return String(letter.partition);
    if (n === 4) return String(letter.offset);
    return String(n === 5 && hasTimestamp(letter) ? letter.timestamp : letter.truncatedFrom);
  },
};
