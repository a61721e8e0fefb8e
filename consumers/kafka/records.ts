import type { DeadLetter, OutputEvent } from '../ports.ts';
import { headerLayout, type RecordLayout } from './record-batch.ts';

/** CloudEvents 1.0, Kafka protocol binding, binary mode: attributes are headers, the value is the data. */
export function eventLayout(source: string, type: string): RecordLayout<OutputEvent> {
  const fixed = { ce_specversion: '1.0', ce_source: source, ce_type: type, 'content-type': 'application/json' };
  return {
    key: (event) => event.key,
    value: (event) => event.data,
    headers: headerLayout(fixed, ['ce_id', 'ce_time']),
    header: (event, n) => (n === 0 ? event.id : event.time),
  };
}

const letterHeaders = ['weir-reason', 'weir-message', 'weir-stream', 'weir-partition', 'weir-offset'];

/** The original key and value, and why and whence as headers. */
export const deadLetterLayout: RecordLayout<DeadLetter> = {
  key: (letter) => letter.key,
  value: (letter) => letter.value,
  headers: headerLayout({}, letterHeaders),
  header: ({ reason, message, stream, partition, offset }, n) =>
    n === 0 ? reason : n === 1 ? message : n === 2 ? stream : String(n === 3 ? partition : offset),
};
