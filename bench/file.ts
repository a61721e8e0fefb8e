import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { handbookHeader, handbookPath, readHandbook } from '../test/support/handbook.ts';
import { startWeir } from '../test/support/weir-process.ts';
import { residentMiB, watchCpu } from './cpu.ts';
import { report } from './measure.ts';

const backlogEvents = 300_000;

/** The whole job from file on the embedded store: events per second, CPU, and the memory of the whole Handbook file. */
export async function benchFile(runs: number, only: (name: string) => boolean): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'weir-bench-'));
  try {
    if (only('backlog.file')) {
      const input = join(folder, 'handbook.csv');
      const rows = await readHandbook(backlogEvents);
      writeFileSync(input, `${handbookHeader}\n${rows.map(({ line }) => line).join('\n')}\n`);
      const [rates, cpu]: [number[], number[]] = [[], []];
      for (let run = 0; run < runs; run++) {
        const { eventsPerSecond, cpuSeconds } = await runJob(folder, input);
        rates.push(eventsPerSecond);
        cpu.push((cpuSeconds * 1e6) / rows.length);
      }
      report('backlog.file', 'events/s', rates);
      report('backlog.file.cpu.worker', 'us/event', cpu);
    }
    if (only('memory.file')) {
      const [resident, rates]: [number[], number[]] = [[], []];
      for (let run = 0; run < runs; run++) {
        const { eventsPerSecond, peakMiB } = await runJob(folder, handbookPath());
        resident.push(peakMiB);
        rates.push(eventsPerSecond);
      }
      report('memory.file.whole', 'MiB', resident);
      report('backlog.file.whole', 'events/s', rates);
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

async function runJob(folder: string, input: string) {
  const outputs = ['risk.jsonl', 'risk.jsonl.checkpoint', 'dead-letters.jsonl', 'state'].map((name) =>
    join(folder, name),
  );
  const settings = {
    'state.embedded.path': outputs[3],
    'sink.file.path': outputs[0],
    'sink.file.dead_letters': outputs[2],
    'log.level': 'warn',
  };
  const overrides = Object.entries(settings).flatMap(([key, value]) => ['--set', `${key}=${value}`]);
  const weir = startWeir(['run', '--config', 'examples/handbook/weir.yaml', '--until-end', '--json', ...overrides], {
    HANDBOOK_CSV: input,
  });
  const pid = weir.child.pid!;
  const cpu = watchCpu(pid);
  let peakMiB = 0;
  const memory = setInterval(() => {
    try {
      peakMiB = Math.max(peakMiB, residentMiB(pid));
    } catch {
      // It has ended.
    }
  }, 100);
  const code = await weir.ended();
  clearInterval(memory);
  const cpuSeconds = cpu.stop();
  for (const output of outputs) rmSync(output, { recursive: true, force: true });
  if (code !== 0) throw new Error(`weir ended with ${code}: ${weir.stderr()}`);
  return { eventsPerSecond: (JSON.parse(weir.stdout()) as { events_per_s: number }).events_per_s, cpuSeconds, peakMiB };
}
