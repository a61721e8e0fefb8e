import { randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { run } from './machine.ts';

export interface KafkaPorts {
  broker: number;
  controller: number;
  /** Ports of further listeners by the name of their protocol: SSL, SASL_PLAINTEXT, SASL_SSL. */
  secured: ReadonlyMap<string, number>;
}

const FOREVER = '9223372036854775807';

/**
 * Settings of a single KRaft node for tests and trials. It keeps records whatever their event time says, in the far
 * past or the future, and lets consumer groups notice a dead member within a second if they ask for it.
 */
export function nodeSettings(ports: KafkaPorts, bind: string): Record<string, string> {
  const secured = (host: string) => [...ports.secured].map(([name, port]) => `,${name}://${host}:${port}`).join('');
  return {
    'process.roles': 'broker,controller',
    'node.id': '1',
    'controller.quorum.voters': `1@127.0.0.1:${ports.controller}`,
    'controller.listener.names': 'CONTROLLER',
    'inter.broker.listener.name': 'PLAINTEXT',
    listeners: `PLAINTEXT://${bind}:${ports.broker},CONTROLLER://127.0.0.1:${ports.controller}${secured(bind)}`,
    'advertised.listeners': `PLAINTEXT://127.0.0.1:${ports.broker}${secured('127.0.0.1')}`,
    'listener.security.protocol.map':
      'PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT,SASL_SSL:SASL_SSL',
    'auto.create.topics.enable': 'false',
    'offsets.topic.num.partitions': '4',
    'offsets.topic.replication.factor': '1',
    'transaction.state.log.num.partitions': '4',
    'transaction.state.log.replication.factor': '1',
    'transaction.state.log.min.isr': '1',
    'share.coordinator.state.topic.num.partitions': '1',
    'share.coordinator.state.topic.replication.factor': '1',
    'share.coordinator.state.topic.min.isr': '1',
    // A killed node may register again only when its old session has run out (9 s by default).
    'broker.session.timeout.ms': '3000',
    'broker.heartbeat.interval.ms': '500',
    'group.initial.rebalance.delay.ms': '0',
    'group.min.session.timeout.ms': '1000',
    'log.retention.ms': '-1',
    'log.roll.ms': FOREVER,
    'log.message.timestamp.before.max.ms': FOREVER,
    'log.message.timestamp.after.max.ms': FOREVER,
    'log.cleaner.dedupe.buffer.size': '8388608',
    'num.io.threads': String(Math.max(2, availableParallelism())),
  };
}

/** JVM options: a small heap (WEIR_KAFKA_HEAP, megabytes, default 512) and warnings only on its output. */
export function jvmOptions(): string[] {
  const heap = Number(process.env.WEIR_KAFKA_HEAP || 512);
  return [
    `-Xms${Math.min(256, heap)}m`,
    `-Xmx${heap}m`,
    '-XX:+UseSerialGC',
    '-Dorg.slf4j.simpleLogger.defaultLogLevel=warn',
    '-Dorg.slf4j.simpleLogger.showDateTime=true',
    '-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS',
  ];
}

/**
 * Writes the settings, formats the data folder if it is new, and gives the arguments of `java` that run the node.
 * @param id the cluster's; the nodes of one cluster have the same.
 */
export async function prepareNode(
  folder: string,
  classpath: string,
  settings: Record<string, string>,
  id = clusterId(),
): Promise<string[]> {
  const file = join(folder, 'server.properties');
  const all = { ...settings, 'log.dirs': join(folder, 'data') };
  const escaped = (value: string) => value.replaceAll('\\', '\\\\').replaceAll('\n', '\\n');
  const lines = Object.entries(all).map(([key, value]) => `${key}=${escaped(value)}`);
  writeFileSync(file, `${lines.join('\n')}\n`);
  const java = [...jvmOptions(), '-cp', classpath];
  const format = ['kafka.tools.StorageTool', 'format', '--ignore-formatted', `--cluster-id=${id}`, '-c', file];
  await run('java', ['-XX:TieredStopAtLevel=1', ...java, ...format]);
  return [...java, 'kafka.Kafka', file];
}

/** The same settings as the variables that the apache/kafka image turns into its server.properties. */
export function containerEnv(settings: Record<string, string>): Record<string, string> {
  const env: Record<string, string> = { CLUSTER_ID: clusterId() };
  for (const [key, value] of Object.entries(settings)) {
    const name = key.replaceAll('_', '__').replaceAll('-', '___').replaceAll('.', '_').toUpperCase();
    env[`KAFKA_${name}`] = value;
  }
  return env;
}

/** A new cluster's id. */
export function clusterId(): string {
  return randomBytes(16).toString('base64url');
}
