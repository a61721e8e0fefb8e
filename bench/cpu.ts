import { readdirSync, readFileSync } from 'node:fs';

/** Clock ticks per second of /proc/<pid>/stat on Linux. */
const ticksPerSecond = 100;

/** CPU time that a process and its threads have used so far, seconds (user and system); its children are not included. */
export function cpuSeconds(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1].split(' ');
  return (Number(fields[11]) + Number(fields[12])) / ticksPerSecond;
}

/** Process ids below the given one, itself included. */
export function processTree(pid: number): number[] {
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8')
    .trim()
    .split(' ')
    .filter(Boolean)
    .map(Number);
  return [pid, ...children.flatMap(processTree)];
}

/** Resident set, MiB. */
export function residentMiB(pid: number): number {
  const line = /VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'));
  return line ? Number(line[1]) / 1024 : 0;
}

/** Follows the CPU time of a process and those below it, which can be read only while they live. */
export function watchCpu(pid: number): { stop(): number } {
  const seconds = new Map<number, number>();
  const look = () => {
    try {
      for (const each of processTree(pid)) seconds.set(each, cpuSeconds(each));
    } catch {
      // A process ended between two reads: what was seen last counts.
    }
  };
  const timer = setInterval(look, 50);
  return {
    stop() {
      clearInterval(timer);
      return [...seconds.values()].reduce((sum, value) => sum + value, 0);
    },
  };
}

/**
 * Holds a process and each below it to a share of a core of its own, by stopping those that have had theirs until the next period: what more of them
 * bring is then not hidden by what else the machine's cores have to do.
 * @param share of a core, for each process.
 */
export function limitCpu(pid: number, share: number): { stop(): void } {
  const periodMs = 50;
  const lookMs = 2;
  const begun = new Map<number, number>();
  const stopped = new Set<number>();
  let periodEnds = 0;
  const signal = (each: number, name: 'SIGSTOP' | 'SIGCONT') => {
    try {
      process.kill(each, name);
    } catch {
      // It has ended.
    }
  };
  const look = () => {
    let tree: number[] = [];
    try {
      tree = processTree(pid);
    } catch {
      return;
    }
    const now = performance.now();
    if (now >= periodEnds) {
      periodEnds = now + periodMs;
      for (const each of stopped) signal(each, 'SIGCONT');
      stopped.clear();
      begun.clear();
    }
    for (const each of tree) {
      if (stopped.has(each)) continue;
      const used = cpuMs(each);
      if (used === undefined) continue;
      if (!begun.has(each)) begun.set(each, used);
      if (used - begun.get(each)! < share * periodMs) continue;
      stopped.add(each);
      signal(each, 'SIGSTOP');
    }
  };
  const timer = setInterval(look, lookMs);
  return {
    stop() {
      clearInterval(timer);
      for (const each of stopped) signal(each, 'SIGCONT');
    },
  };
}

/** CPU time of a process's threads so far, to the nanosecond. */
function cpuMs(pid: number): number | undefined {
  try {
    const threads = readdirSync(`/proc/${pid}/task`);
    const time = (thread: string) =>
      Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'utf8').split(' ')[0]);
    return threads.reduce((sum, thread) => sum + time(thread), 0) / 1e6;
  } catch {
    return undefined;
  }
}
