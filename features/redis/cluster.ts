import type { WeirError } from '../../runtime/errors.ts';
import { encodeCommand, type GroupCall, type Reply } from './call.ts';
import type { RedisStoreConfig } from './config.ts';
import type { LinkOptions, RedisLink } from './connection.ts';
import { openNode, type RedisNode } from './node.ts';
import { slowness } from './server-checks.ts';
import { ownerOf, readSlotRanges } from './slots.ts';

/** Hops of a call that is told that its slot is elsewhere; more are a cluster that does not agree with itself. */
const mostHops = 5;
/** While a group's node is away, or does not serve its slots, the others are asked this often who has them now. */
const refreshMs = 250;
/** What a node says that may have lost its slots without knowing it: cut off from the others, or a replica by now. */
const doubtful = /CLUSTERDOWN|READONLY|MASTERDOWN|LOADING/;

const asking = encodeCommand('ASKING');

/** Where a call is to go instead, by the answer MOVED or ASK. */
interface Redirection {
  readonly kind: 'MOVED' | 'ASK';
  readonly address: string;
}

/**
 * A Redis Cluster, over one plain connection to each primary that has a slot group: calls are written to the node of their group. Moved slots
 * are followed; a node that is away fails the calls of its own groups alone.
 * @throws as connectRedis()
 */
export async function connectCluster(config: RedisStoreConfig, options: LinkOptions): Promise<RedisLink> {
  const { name, slots, clock, onTrouble, onWarning } = options;
  const nodes = new Map<string, RedisNode>();
  /** By group: the address of the node that has it. */
  const route: string[] = [];
  /** Who gave an error. */
  const cameFrom = new WeakMap<object, RedisNode>();
  const measured = new WeakSet<RedisNode>();
  let isClosed = false;
  let isTold = false;
  let refreshing: Promise<void> | undefined;
  let cancelTimer: (() => void) | undefined;
  /** Nodes that have given a doubtful answer since the last time the slots were learnt. */
  const doubted = new Set<RedisNode>();

  function nodeAt(address: string): RedisNode {
    let node = nodes.get(address);
    if (node === undefined) {
      const colon = address.lastIndexOf(':');
      const at = { host: address.slice(0, colon), port: Number(address.slice(colon + 1)) };
      node = openNode(config, at, name, changed);
      nodes.set(address, node);
    }
    return node;
  }

  /** Waits for a node, and measures the way to one that was not known before. */
  async function fitNode(address: string): Promise<void> {
    const node = nodeAt(address);
    await node.ready();
    if (measured.has(node)) return;
    measured.add(node);
    const slow = await slowness(node, clock);
    if (slow !== undefined) onWarning?.(slow);
  }

  const readyNodes = () => [...nodes.values()].filter(({ isReady }) => isReady);

  function awayNode(): RedisNode | undefined {
    const away = route.find((address) => !nodeAt(address).isReady);
    return away === undefined ? undefined : nodeAt(away);
  }

  function changed(): void {
    if (isClosed || route.length === 0) return;
    const away = awayNode();
    if (away !== undefined) refreshLater();
    if ((away !== undefined) === isTold) return;
    isTold = away !== undefined;
    onTrouble?.(away?.lost());
  }

  function refreshLater(): void {
    cancelTimer ??= clock.after(refreshMs, () => {
      cancelTimer = undefined;
      void refresh();
    });
  }

  /** Asks who has which slots now, of the first that knows, and goes by it. Whoever is in doubt is asked last. */
  function refresh(): Promise<void> {
    refreshing ??= learnRoute()
      .catch(() => undefined)
      .finally(() => {
        refreshing = undefined;
        changed();
      });
    return refreshing;
  }

  async function learnRoute(): Promise<void> {
    const asked = readyNodes().filter((node) => !doubted.has(node));
    // Known nodes may all have been replaced: the named ones, or their names, lead to the new.
    if (asked.length === 0) {
      const named = await firstOfNamed().catch((error: unknown) => {
        if (doubted.size === 0) throw error;
      });
      if (named !== undefined) asked.push(named);
    }
    let failure: unknown;
    for (const node of [...asked, ...doubted]) {
      try {
        await goBy(node);
        doubted.clear();
        return;
      } catch (error) {
        failure = error;
      }
    }
    throw failure;
  }

  function firstOfNamed(): Promise<RedisNode> {
    const opened = config.cluster!.map(nodeAt).filter((node) => !doubted.has(node));
    return Promise.any(opened.map((node) => node.ready().then(() => node))).catch((error: AggregateError) =>
      Promise.reject(error.errors[0]),
    );
  }

  async function goBy(node: RedisNode): Promise<void> {
    const ranges = readSlotRanges(await node.ask('asking for the slots', 'CLUSTER', 'SLOTS'), node.host);
    const owners = slots.map((slot) => ownerOf(slot, ranges));
    // A slot that nobody has for now keeps its place: its calls fail until somebody has.
    const next = owners.map((owner, group) => owner ?? route[group] ?? node.address);
    const added = [...new Set(next)].filter((address) => !route.includes(address));
    // At the start all have to be fit; later on the groups of one that is not wait for it.
    if (route.length === 0) await Promise.all(added.map(fitNode));
    else await Promise.allSettled(added.map(fitNode));
    route.splice(0, route.length, ...next);
    for (const address of [...nodes.keys()]) if (!route.includes(address)) drop(address);
  }

  function drop(address: string): void {
    const node = nodes.get(address);
    if (node === undefined) return;
    node.close();
    nodes.delete(address);
    doubted.delete(node);
  }

  /** Sends each call to a node, all to one node in one write. */
  async function sendTo(calls: readonly GroupCall[], target: (call: GroupCall) => RedisNode): Promise<Reply[]> {
    const indexes = new Map<RedisNode, number[]>();
    for (let index = 0; index < calls.length; index++) {
      const node = target(calls[index]);
      const of = indexes.get(node);
      if (of === undefined) indexes.set(node, [index]);
      else of.push(index);
    }
    const replies: Reply[] = new Array(calls.length);
    await Promise.all(
      [...indexes].map(async ([node, of]) => {
        const answers = await node.exchange(of.map((index) => calls[index].bytes));
        for (let k = 0; k < of.length; k++) {
          const answer = answers[k];
          if (answer instanceof Error) cameFrom.set(answer, node);
          replies[of[k]] = answer;
        }
      }),
    );
    return replies;
  }

  /** A node that does not serve its slots may go on saying so for ever, and somebody else have them. */
  function noteDoubt(replies: readonly Reply[]): void {
    for (const reply of replies) {
      const node = reply instanceof Error && doubtful.test(reply.message) ? cameFrom.get(reply) : undefined;
      if (node === undefined || nodes.get(node.address) !== node) continue;
      doubted.add(node);
      refreshLater();
    }
  }

  /** Sends the calls again that were told where to go; the slots are learnt anew behind their back. */
  async function follow(calls: readonly GroupCall[], replies: Reply[]): Promise<void> {
    for (let hop = 0; hop < mostHops; hop++) {
      const told = redirected(replies);
      if (told.size === 0) return;
      const addresses = new Set([...told.values()].map(({ address }) => address));
      await Promise.allSettled([...addresses].map(fitNode));
      if ([...told.values()].some(({ kind }) => kind === 'MOVED')) void refresh();
      await Promise.all(
        [...told].map(async ([index, { kind, address }]) => {
          const node = nodeAt(address);
          if (kind === 'MOVED') route[calls[index].group] = address;
          const sent = kind === 'ASK' ? [asking, calls[index].bytes] : [calls[index].bytes];
          const answer = (await node.exchange(sent))[sent.length - 1];
          if (answer instanceof Error) cameFrom.set(answer, node);
          replies[index] = answer;
        }),
      );
    }
  }

  function close(): void {
    isClosed = true;
    cancelTimer?.();
    for (const address of [...nodes.keys()]) drop(address);
  }

  try {
    await learnRoute();
  } catch (error) {
    close();
    throw error;
  }

  return {
    address: config.cluster!.join(','),
    async exchange(calls) {
      const replies = await sendTo(calls, ({ group }) => nodeAt(route[group]));
      await follow(calls, replies);
      noteDoubt(replies);
      return replies;
    },
    places: () => [...route],
    async loadScripts(scripts) {
      await Promise.all(readyNodes().map((node) => node.loadScripts(scripts)));
    },
    demand(doing) {
      if (readyNodes().length === 0) throw nodeAt(route[0]).lost(doing);
    },
    fault(error, doing): WeirError {
      return (cameFrom.get(error as object) ?? nodeAt(route[0])).fault(error, doing);
    },
    close,
  };
}

function redirected(replies: readonly Reply[]): Map<number, Redirection> {
  const found = new Map<number, Redirection>();
  for (const [index, reply] of replies.entries()) {
    if (!(reply instanceof Error)) continue;
    const [, kind, address] = /^(MOVED|ASK) \d+ (\S+:\d+)$/.exec(reply.message) ?? [];
    if (kind === 'MOVED' || kind === 'ASK') found.set(index, { kind, address });
  }
  return found;
}
