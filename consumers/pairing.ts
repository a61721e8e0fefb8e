import type { ConfigFault } from '../runtime/config/document.ts';
import { deliveryOf, type JobConfig } from './config.ts';
import { sameCluster, sinkConnection } from './kafka/config.ts';
import { streamsRead } from './kinesis/config.ts';

type Ends = Pick<JobConfig, 'source' | 'sink' | 'delivery'>;

/** Which source goes with which sink and delivery. */
export function pairingFaults(ends: Ends): ConfigFault[] {
  return [...kafkaFaults(ends), ...kinesisFaults(ends), ...fileFaults(ends)];
}

function kafkaFaults({ source, sink, delivery }: Ends): ConfigFault[] {
  const faults: ConfigFault[] = [];
  if (sink.kafka && sinkConnection(sink.kafka, source.kafka) === undefined) {
    faults.push({ path: ['sink', 'kafka'], message: 'brokers is missing: there is no Kafka source to take it from' });
  }
  const isOneCluster = source.kafka !== undefined && sink.kafka !== undefined && sameCluster(source.kafka, sink.kafka);
  if (deliveryOf({ source, sink, delivery }) === 'exactly-once' && source.kafka && sink.kafka && !isOneCluster) {
    faults.push({
      path: ['sink', 'kafka', 'brokers'],
      message:
        'a transaction holds output and position of one cluster only: for another cluster set delivery: at-least-once',
    });
  }
  for (const key of ['topic', 'dead_letters'] as const) {
    if (!isOneCluster || sink.kafka?.[key] !== source.kafka?.topic) continue;
    faults.push({
      path: ['sink', 'kafka', key],
      message: 'it is the topic that the job reads: it would read its own output, for ever',
    });
  }
  return faults;
}

function kinesisFaults({ source, sink, delivery }: Ends): ConfigFault[] {
  const faults: ConfigFault[] = [];
  if (delivery === 'exactly-once' && (source.kinesis || sink.kinesis)) {
    faults.push({
      path: ['delivery'],
      message: 'Kinesis has no transactions: with it delivery is at-least-once, and repeats carry the same event id',
    });
  }
  if (source.kinesis && sink.file) {
    faults.push({
      path: ['sink', 'file'],
      message:
        'a Kinesis source keeps its position with its leases, a file sink in the file: use sink.kinesis or kafka',
    });
  }
  if (source.file && sink.kinesis) {
    faults.push({
      path: ['sink', 'kinesis'],
      message:
        'neither a file nor Kinesis keeps a position: every start would publish all of it again; use sink.kafka or file',
    });
  }
  for (const key of source.kinesis && sink.kinesis ? streamsRead(sink.kinesis, source.kinesis) : []) {
    faults.push({
      path: ['sink', 'kinesis', key],
      message: 'it is the stream that the job reads: it would read its own output, for ever',
    });
  }
  return faults;
}

function fileFaults({ source, sink, delivery }: Ends): ConfigFault[] {
  if (delivery !== 'at-least-once' || !(source.file || sink.file)) return [];
  return [
    {
      path: ['delivery'],
      message: 'at-least-once is for a job from stream to stream; with files the pair is exactly-once at no cost',
    },
  ];
}
