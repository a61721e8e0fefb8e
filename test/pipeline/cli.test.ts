import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { startRedis } from '../../infra/services/start.ts';
import { demoJob, simulatedLines, writeLines } from '../support/demo-job.ts';
import { startProxy } from '../support/proxy.ts';
import { runWeir, startWeir } from '../support/weir-process.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'weir-cli-'));
});
const ends: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
  rmSync(folder, { recursive: true, force: true });
});

describe('weir --help', () => {
  it('lists the commands, each of which has examples', async () => {
    const { code, stdout } = await runWeir(['--help']);
    expect(code).toBe(0);
    const commands = [...stdout.matchAll(/^ {2}([a-z]+) (?!\[command\])/gm)].map(([, name]) => name);
    expect(commands).toEqual([
      'demo',
      'run',
      'backfill',
      'check',
      'simulate',
      'features',
      'inspect',
      'fleet',
      'offsets',
      'dlq',
    ]);
    commands.push('features list', 'features export', 'fleet status', 'offsets show', 'offsets reset');
    commands.push('dlq list', 'dlq show', 'dlq replay');
    for (const command of commands) {
      const help = await runWeir([...command.split(' '), '--help']);
      expect({ command, code: help.code, stderr: help.stderr }).toEqual({ command, code: 0, stderr: '' });
      expect(help.stdout).toMatch(new RegExp(`Examples:\n(  .*\n)*.*weir ${command.replace(' export', '')}`));
    }
  }, 400_000);

  it('answers an unknown command or option with what is known, and exit code 2', async () => {
    const command = await runWeir(['rnu']);
    expect(command.code).toBe(2);
    expect(command.stderr).toContain('Did you mean run?');
    const option = await runWeir(['run', '--config', 'x', '--fast']);
    expect(option.code).toBe(2);
    expect(option.stderr).toContain("unknown option '--fast'");
    expect((await runWeir(['run'])).code).toBe(2);
  });
});

describe('weir demo', () => {
  const demo = (...args: string[]) => runWeir(['demo', '--events', '4000', ...args], { WEIR_DEMO_DIR: folder });

  it('scores, continues, starts over, and is quiet about it when it should be', async () => {
    const first = await demo('--json');
    expect({ code: first.code, stderr: first.stderr }).toEqual({ code: 0, stderr: '' });
    const summary = JSON.parse(first.stdout) as Record<string, unknown>;
    expect(Object.keys(summary)).toEqual([
      ...['events', 'published', 'dead_letters', 'seconds', 'events_per_s', 'latency_ms', 'decisions', 'output'],
    ]);
    expect(summary).toMatchObject({
      events: 4000,
      published: 4000,
      dead_letters: 0,
      output: join(folder, 'risk.jsonl'),
    });
    expect(JSON.parse((await demo('--json')).stdout)).toMatchObject({ events: 0 });
    expect((await demo()).stdout).toContain('Nothing new');

    const over = await demo('--fresh');
    expect(over.code).toBe(0);
    expect(over.stdout).toMatch(/^4,000 transactions scored in [\d.]+ s/);
    expect(over.stdout).toMatch(/precision [\d.]+ %, recall [\d.]+ % of \d+ labelled frauds/);
    expect(over.stdout.match(/^ +(riskiest)? +[01]\.\d{3} (approve|challenge|review|block)/gm)).toHaveLength(5);
    expect(over.stdout).toContain('Next');
    expect(readFileSync(join(folder, 'risk.jsonl'), 'utf8').trimEnd().split('\n')).toHaveLength(4000);
  });

  it('says what to do when another stream lies there', async () => {
    await demo('--json');
    const { code, stderr } = await runWeir(['demo', '--seed', '8', '--events', '4000'], { WEIR_DEMO_DIR: folder });
    expect(code).toBe(2);
    expect(stderr).toContain('--fresh');
  });
});

describe('weir check', () => {
  it('finds no fault with any example', async () => {
    for (const example of ['demo/weir.yaml', 'kafka/weir.yaml', 'handbook/weir.yaml', 'handbook/kafka.yaml']) {
      const { code, stdout, stderr } = await runWeir(['check', '--config', `examples/${example}`], {
        HANDBOOK_CSV: 'x.csv',
      });
      expect({ example, code, stderr }).toEqual({ example, code: 0, stderr: '' });
      expect(stdout).toMatch(/no faults\. Job [a-z-]+: \d+ features/);
    }
  });

  it('names every fault with its line, on standard error', async () => {
    const file = join(folder, 'job.yaml');
    writeFileSync(
      file,
      readFileSync('examples/demo/weir.yaml', 'utf8')
        .replace('unit: ms', 'unit: sec')
        .replace('job: demo', 'jib: demo'),
    );
    const { code, stdout, stderr } = await runWeir(['check', '--config', file]);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr).toContain(`${file}:3: jib: unknown key (did you mean job?)`);
    expect(stderr).toContain(`${file}:9: event.time.unit: expected ms or s or us or iso, got "sec"`);
  });

  it('refuses a model that was made for other features, and a damaged one', async () => {
    const other = await runWeir([
      'check',
      '--config',
      'examples/demo/weir.yaml',
      '--set',
      'event.time.allowed_lateness_ms=1',
      '--set',
      'filters.small=amount < 6',
    ]);
    expect(other.code).toBe(6);
    expect(other.stderr).toContain('terminal.ratio.small.1h');
    const damaged = join(folder, 'model.onnx');
    writeFileSync(damaged, readFileSync('examples/demo/model.onnx').subarray(0, 1000));
    const { code, stderr } = await runWeir([
      'check',
      '--config',
      'examples/demo/weir.yaml',
      '--set',
      `model.onnx=${damaged}`,
    ]);
    expect(code).toBe(6);
    expect(stderr).toContain(damaged);
  });
});

describe('weir features', () => {
  it('exports what the job computes, with what each feature is', async () => {
    await writeLines(join(folder, 'transactions.jsonl'), simulatedLines(3000));
    const { args, env, output } = demoJob(folder);
    expect((await runWeir(args, env)).code).toBe(0);
    const published = readFileSync(output, 'utf8')
      .trimEnd()
      .split('\n')
      .map((line) => (JSON.parse(line) as { data: { transaction_id: string; features: Record<string, number> } }).data);
    for (const format of ['csv', 'jsonl']) {
      const out = join(folder, `features.${format}`);
      const exported = await runWeir(['features', '--config', 'examples/demo/weir.yaml', '--out', out], env);
      expect({ code: exported.code, stderr: exported.stderr }).toEqual({
        code: 0,
        stderr: expect.stringMatching(/^3000 transactions, \d+ features/),
      });
      const { names, definitions, rows } = JSON.parse(readFileSync(`${out}.json`, 'utf8')) as Record<string, string[]>;
      expect(rows).toBe(3000);
      expect(definitions).toHaveLength(names.length);
      const text = readFileSync(out, 'utf8').trimEnd().split('\n');
      const got =
        format === 'csv'
          ? text
              .slice(1)
              .map((line) => line.split(','))
              .map(([id, , , ...values]) => ({
                id,
                features: Object.fromEntries(names.map((name, k) => [name, Number(values[k])])),
              }))
          : text.map((line) => JSON.parse(line)).map(({ transaction_id: id, features }) => ({ id, features }));
      expect(got).toEqual(published.map(({ transaction_id: id, features }) => ({ id, features })));
    }
  });

  it('leaves nothing behind when its input is missing, and an earlier export as it was', async () => {
    const out = join(folder, 'features.csv');
    const attempt = () =>
      runWeir(['features', '--config', 'examples/demo/weir.yaml', '--out', out], { WEIR_DEMO_DIR: folder });
    expect(await attempt()).toMatchObject({ code: 3 });
    expect(readdirSync(folder)).toEqual([]);
    writeFileSync(out, 'earlier');
    expect(await attempt()).toMatchObject({ code: 3 });
    expect({ there: readdirSync(folder), text: readFileSync(out, 'utf8') }).toEqual({
      there: ['features.csv'],
      text: 'earlier',
    });
  });

  it('lists what each feature means and costs, and what is retained', async () => {
    const { code, stdout } = await runWeir(['features', 'list', '--config', 'examples/demo/weir.yaml']);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^feature +meaning +window +cost$/m);
    expect(stdout).toMatch(/^is-night +1 when the event is from 00:00 to 06:59 \(UTC\), else 0 +constant$/m);
    expect(stdout).toMatch(/^card\.count\.1h +the number of the card's events in the last 1h +1h +constant$/m);
    expect(stdout).toMatch(/^terminal\.count\.7d\.delay-7d +the number of .* ended 7d ago +7d, 7d ago +constant$/m);
    expect(stdout).toMatch(
      /^card +17 +time, amount, hash of terminal_id, 2 bits for filters +30d +13\.3 +19\.3 +4,096 /m,
    );
    const json = await runWeir(['features', 'list', '--config', 'examples/demo/weir.yaml', '--json']);
    const lines = json.stdout
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, unknown>);
    expect(lines).toHaveLength(44);
    expect(lines.find(({ name }) => name === 'terminal.ratio.fraud.7d.delay-7d')).toEqual({
      name: 'terminal.ratio.fraud.7d.delay-7d',
      meaning: "the share of the terminal's events in the 7d that ended 7d ago that pass `fraud`",
      ...{ entity: 'terminal', window: '7d', delay: '7d', cost: 'constant', event_bytes: 4.4, event_bytes_most: 5.4 },
      definition: expect.stringContaining('ratio of fraud over every event of the terminal within 604800000 ms'),
    });
    expect(lines[0]).toMatchObject({ name: 'amount', entity: null, window: null, delay: null });
  });

  it('exports as well when that is said, and knows what was meant by another word', async () => {
    await writeLines(join(folder, 'transactions.jsonl'), simulatedLines(10));
    const args = ['--config', 'examples/demo/weir.yaml', '--out', join(folder, 'f.csv')];
    const exported = await runWeir(['features', 'export', ...args], { WEIR_DEMO_DIR: folder });
    expect(exported).toMatchObject({ code: 0, stderr: expect.stringMatching(/^10 transactions, \d+ features/) });
    const misspelt = await runWeir(['features', 'lsit', '--config', 'examples/demo/weir.yaml']);
    expect(misspelt).toMatchObject({ code: 2, stderr: expect.stringContaining('did you mean list?') });
    expect(await runWeir(['features', '--config', 'x'])).toMatchObject({
      code: 2,
      stderr: expect.stringContaining("'-o, --out <file>' not specified"),
    });
  });

  it('has no file for a job that reads Kafka', async () => {
    const { code, stderr } = await runWeir([
      'features',
      '--config',
      'examples/kafka/weir.yaml',
      '--out',
      join(folder, 'f.csv'),
    ]);
    expect(code).toBe(2);
    expect(stderr).toContain('source.file.path');
  });
});

describe('weir run', () => {
  it('says what is wrong, with its exit code, for each thing that can be missing', async () => {
    const env = { WEIR_DEMO_DIR: folder };
    const run = (...more: string[]) => runWeir(['run', '--config', 'examples/demo/weir.yaml', ...more], env);
    expect(await run()).toMatchObject({
      code: 3,
      stderr: expect.stringContaining('transactions.jsonl cannot be read'),
    });
    await writeLines(join(folder, 'transactions.jsonl'), simulatedLines(10));
    expect(await run('--set', 'model.onnx=none.onnx')).toMatchObject({
      code: 6,
      stderr: expect.stringContaining('none.onnx'),
    });
    const nowhere = [
      '--set',
      'state.embedded=null',
      '--set',
      'state.redis.url=redis://127.0.0.1:1',
      '--set',
      'state.redis.connect_timeout_ms=300',
    ];
    expect(await run(...nowhere)).toMatchObject({ code: 5, stderr: expect.stringContaining('127.0.0.1:1') });
    const noBroker = [
      'source.file=null',
      'source.kafka.brokers=["127.0.0.1:1"]',
      'source.kafka.topic=t',
      'source.kafka.group=g',
      'source.kafka.connect_timeout_ms=300',
    ];
    expect(await run(...noBroker.flatMap((each) => ['--set', each]))).toMatchObject({
      code: 4,
      stderr: expect.stringContaining('127.0.0.1:1'),
    });
    expect(await run('--processes', '2')).toMatchObject({ code: 2, stderr: expect.stringContaining('--processes') });
    expect(await run('--processes', 'x')).toMatchObject({ code: 2 });
    writeFileSync(join(folder, 'taken'), '');
    expect(await run('--set', `sink.file.path=${join(folder, 'taken', 'risk.jsonl')}`)).toMatchObject({ code: 7 });
  });

  it('serves metrics and health while it runs', async () => {
    await writeLines(join(folder, 'transactions.jsonl'), simulatedLines(20_000));
    const redis = await startRedis();
    // What the job asks of Redis goes through this process, and from some time on nothing does: the job cannot end meanwhile.
    const proxy = await startProxy(redis.port);
    ends.push(
      () => redis.stop(),
      () => proxy.close(),
    );
    const { args, env, output } = demoJob(folder);
    const settings = ['metrics.port=0', 'metrics.host=127.0.0.1', 'log.level=info', 'state.embedded=null'];
    settings.push(`state.redis.url=redis://127.0.0.1:${proxy.port}`, 'state.redis.command_timeout_ms=600000');
    const weir = startWeir([...args, ...settings.flatMap((setting) => ['--set', setting])], env);
    ends.push(() => weir.ended());
    ends.push(() => weir.kill('SIGKILL'));
    const until = async <T>(ask: () => T | undefined | false): Promise<T> => {
      for (;;) {
        const answer = ask();
        if (answer !== undefined && answer !== false) return answer;
        if (weir.child.exitCode !== null) throw new Error(weir.stderr());
        await delay(2);
      }
    };
    const at = `http://127.0.0.1:${await until(() => /"metrics_port":(\d+)/.exec(weir.stderr())?.[1])}`;
    expect((await fetch(`${at}/healthz`)).status).toBe(200);
    await until(() => existsSync(output));
    proxy.stall();
    const ready = await fetch(`${at}/readyz`);
    expect([ready.status, await ready.json()]).toEqual([200, { ready: true, troubles: {}, degraded: {} }]);
    const metrics = await (await fetch(`${at}/metrics`)).text();
    expect(metrics).toMatch(/weir_owned_partitions 1/);
    expect((await fetch(`${at}/nothing`)).status).toBe(404);
    proxy.heal();
    expect(await weir.ended()).toBe(0);
    for (const line of weir.stderr().trimEnd().split('\n')) {
      // On a slow machine Redis is slow.
      if (!line.includes('to answer a PING')) expect(JSON.parse(line)).toMatchObject({ level: 'info', job: 'demo' });
    }
  });
});
