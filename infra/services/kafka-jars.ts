import { createHash } from 'node:crypto';
import { existsSync, mkdtempSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { WeirError } from '../../runtime/errors.ts';
import { cacheFolder, oneAtATime, run } from './machine.ts';

export const KAFKA_VERSION = '4.3.1';

const POM = fileURLToPath(new URL('./kafka/pom.xml', import.meta.url));

/** True when the jars have been fetched before. */
export function haveKafkaJars(): boolean {
  return existsSync(jarFolder());
}

/**
 * The class path of Kafka's broker and tools: fetched from Maven Central once per user, about 130 MB. The folder
 * appears whole or not at all, whoever else fetches at the same time or is killed half-way.
 */
export async function kafkaClasspath(): Promise<string> {
  const folder = jarFolder();
  if (!haveKafkaJars()) {
    await oneAtATime(`kafka-${KAFKA_VERSION}`, async () => {
      if (!haveKafkaJars()) await fetchJars(folder);
    });
  }
  return `${folder}/*`;
}

function jarFolder(): string {
  // Named by the pom's content as well, so that a changed pom is never served by old jars.
  const pom = createHash('sha256').update(readFileSync(POM)).digest('hex').slice(0, 8);
  return join(cacheFolder(), `kafka-${KAFKA_VERSION}-${pom}`);
}

async function fetchJars(folder: string): Promise<void> {
  const partial = mkdtempSync(`${folder}.partial-`);
  try {
    await run('mvn', ['-B', '-q', '-f', POM, 'dependency:copy-dependencies', `-DoutputDirectory=${partial}`]);
    renameSync(partial, folder);
  } catch (cause) {
    const message =
      'Kafka cannot be fetched from Maven Central: check the network, or name a mirror in ~/.m2/settings.xml';
    throw new WeirError('BROKER', message, { cause });
  } finally {
    rmSync(partial, { recursive: true, force: true });
  }
}
