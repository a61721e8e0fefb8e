import type { Message } from 'kafkajs';
import type { DeadLetter, OutputEvent } from '../ports.ts';

/** CloudEvents 1.0, Kafka protocol binding, binary mode: attributes are headers, the value is the data. */
export function eventMessages(
  events: readonly OutputEvent[],
  source: string,
  type: string,
  partition: number | undefined,
): Message[] {
  const specversion = Buffer.from('1.0');
  const ceSource = Buffer.from(source);
  const ceType = Buffer.from(type);
  const contentType = Buffer.from('application/json');
  return events.map(({ key, id, time, data }) => ({
    key,
    value: data,
    partition,
    headers: {
      ce_specversion: specversion,
      ce_id: id,
      ce_source: ceSource,
      ce_type: ceType,
      ce_time: time,
      'content-type': contentType,
    },
  }));
}

/** The original key and value, and why and whence as headers. */
export function deadLetterMessages(deadLetters: readonly DeadLetter[], partition: number | undefined): Message[] {
  return deadLetters.map((letter) => ({
    key: letter.key,
    value: letter.value,
    partition,
    headers: {
      'weir-reason': letter.reason,
      'weir-message': letter.message,
      'weir-stream': letter.stream,
      'weir-partition': String(letter.partition),
      'weir-offset': String(letter.offset),
    },
  }));
}
