import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { type RedisService, startRedis } from '../../infra/services/start.ts';
import { demoJob, simulatedLines, writeLines } from '../support/demo-job.ts';
import { runWeir } from '../support/weir-process.ts';

let folder: string;
let redis: RedisService;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'weir-log-'));
  redis = await startRedis();
});
afterAll(async () => {
  await redis.stop();
  rmSync(folder, { recursive: true, force: true });
});

describe('the log', () => {
  it('is JSON lines alone, also what a library has to say', async () => {
    await writeLines(join(folder, 'transactions.jsonl'), simulatedLines(10));
    const { args, env } = demoJob(folder);
    const url = `redis://:needless@${redis.host}:${redis.port}`;
    const store = ['--set', 'state.embedded=null', '--set', `state.redis.url=${url}`];
    const { code, stderr } = await runWeir([...args, ...store], env);
    expect({ code, stderr }).toEqual({ code: 0, stderr: expect.stringContaining('a password was supplied') });
    const lines = stderr.trimEnd().split('\n');
    expect(lines.map((line) => JSON.parse(line))).toContainEqual(
      expect.objectContaining({
        level: 'warn',
        job: 'demo',
        from: 'library',
        message: expect.stringContaining('Redis'),
      }),
    );
    expect(stderr).not.toContain('needless');
  });
});
