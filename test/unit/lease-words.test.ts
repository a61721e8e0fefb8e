import { describe, expect, it } from '@jest/globals';
import { hearWords, wordsThrough } from '../../consumers/kinesis/lease-words.ts';
import { seededRandom } from '../../runtime/random.ts';
import { noFaults } from '../../sim/leases/faulty-table.ts';
import { createMailboxes } from '../../sim/leases/mailboxes.ts';
import { createProcess, createWorld } from '../../sim/leases/world.ts';

/** Workers that tell each other of leases, and what each has heard. */
function startTelling() {
  const world = createWorld();
  const mailboxes = createMailboxes(world);
  return {
    start(name: string) {
      const mailbox = mailboxes.open(createProcess(world, 1, 0), () => noFaults, seededRandom(1));
      const heard: string[] = [];
      hearWords(mailbox, name, {
        asked: (key, by) => heard.push(`${by} asks for ${key}`),
        withdrawn: (key, by) => heard.push(`${by} does not ask for ${key}`),
        lookNow: () => heard.push('look'),
      });
      return { ...wordsThrough(mailbox, name), heard };
    },
    during: (ms: number) => world.run(world.now + ms),
  };
}

const [name, first, second] = ['weir:000000000000', 'weir one:000000000001', 'weir:000000000002'];
const key = 'shardId-000000000000';

describe('words among workers', () => {
  it('are heard by whom they are for, also where two ask for the same lease between two looks', async () => {
    const { start, during } = startTelling();
    const [owner, one, two] = [start(name), start(first), start(second)];
    one.ask(name, key);
    await during(50);
    two.ask(name, key);
    await during(1_000);
    expect(owner.heard).toEqual([`${first} asks for ${key}`, `${second} asks for ${key}`]);
    expect([...one.heard, ...two.heard]).toEqual([]);
  });

  it('are taken back by who has said them alone', async () => {
    const { start, during } = startTelling();
    const [owner, one, two] = [start(name), start(first), start(second)];
    one.ask(name, key);
    two.ask(name, key);
    await during(50);
    one.withdraw(name, key);
    await during(1_000);
    expect(owner.heard.sort()).toEqual([`${first} does not ask for ${key}`, `${second} asks for ${key}`].sort());
    two.withdraw(name, key);
    await during(1_000);
    expect(owner.heard).toContain(`${second} does not ask for ${key}`);
  });

  it('that a lease was handed over are heard although it is asked for again at once', async () => {
    const { start, during } = startTelling();
    const [owner, one] = [start(name), start(first)];
    one.handed(name, key);
    await during(50);
    one.ask(name, key);
    await during(1_000);
    expect(owner.heard).toEqual(['look', `${first} asks for ${key}`]);
  });
});
