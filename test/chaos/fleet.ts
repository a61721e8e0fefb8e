import { startWeir, type WeirProcess } from '../support/weir-process.ts';
import { until } from './until.ts';

/** One process of the job. */
export interface Member {
  /** What it calls itself in the group; who comes after one that has ended has its name. */
  readonly name: string;
  readonly weir: WeirProcess;
  /** Partitions of the input topic that it says it owns, now. */
  owned(): Promise<number[]>;
  /**
   * The sum of a metric over its labels; 0 where there is none.
   * @param label only with this one, as Prometheus writes it: type="Timeout".
   */
  metric(name: string, label?: string): Promise<number>;
}

/** The processes of the job, which come and go. */
export interface Fleet {
  members(): readonly Member[];
  /** @param env of the process, besides that of this one. */
  start(env?: Record<string, string>): Promise<Member>;
  /** Ends it as a crash would. */
  kill(member: Member): Promise<void>;
  /** Ends it in order. */
  drain(member: Member): Promise<void>;
  /** Drains all. */
  stop(): Promise<void>;
  /** Ends what is left, without a word. */
  abandon(): Promise<void>;
}

/** @param topic the input's. */
export function createFleet(args: readonly string[], topic: string): Fleet {
  const members: Member[] = [];
  /** Also of those that are being started. */
  const names = new Set<string>();
  const freeName = () => {
    let number = 0;
    while (names.has(`member-${number}`)) number++;
    return `member-${number}`;
  };
  const forget = (member: Member) => {
    members.splice(members.indexOf(member), 1);
    names.delete(member.name);
  };

  async function drain(member: Member): Promise<void> {
    forget(member);
    member.weir.kill('SIGTERM');
    const code = await member.weir.ended();
    // 8: at that very moment somebody else had taken over what it was doing.
    if (code !== 0 && code !== 8)
      throw new Error(`a process that was told to stop ended with ${code}: ${tail(member.weir)}`);
  }

  return {
    members: () => members,
    async start(env = {}) {
      const name = freeName();
      names.add(name);
      const member = await startMember(name, args, topic, env);
      members.push(member);
      return member;
    },
    async kill(member) {
      forget(member);
      member.weir.kill('SIGKILL');
      await member.weir.ended();
    },
    drain,
    async stop() {
      await Promise.all([...members].map(drain));
    },
    async abandon() {
      for (const { weir } of members) weir.kill('SIGKILL');
      await Promise.all(members.map(({ weir }) => weir.ended()));
    },
  };
}

async function startMember(
  name: string,
  args: readonly string[],
  topic: string,
  env: Record<string, string>,
): Promise<Member> {
  const weir = startWeir([...args, '--set', `source.kafka.process_name=${name}`], env);
  const port = await until('a process says where its metrics are', async () => {
    if (weir.child.exitCode !== null) throw new Error(`weir ended with ${weir.child.exitCode}: ${tail(weir)}`);
    return /"metrics_port":(\d+)/.exec(weir.stderr())?.[1];
  });
  // A connection that is kept may be ended by the other side just when it is used.
  const text = async () =>
    (await fetch(`http://127.0.0.1:${port}/metrics`, { headers: { connection: 'close' } })).text();
  const own = new RegExp(`^weir_lag_records\\{stream="${topic}",partition="(\\d+)"\\}`, 'gm');
  return {
    name,
    weir,
    owned: async () => [...(await text()).matchAll(own)].map(([, partition]) => Number(partition)),
    async metric(name, label = '') {
      const found = (await text()).matchAll(new RegExp(`^${name}(?:\\{.*${label}.*\\})? (\\S+)$`, 'gm'));
      return [...found].reduce((sum, [, value]) => sum + Number(value), 0);
    },
  };
}

/** The last of what it said. */
export function tail(weir: WeirProcess): string {
  return weir.stderr().split('\n').slice(-30).join('\n');
}
