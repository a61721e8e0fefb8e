import { readFileSync } from 'node:fs';

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
