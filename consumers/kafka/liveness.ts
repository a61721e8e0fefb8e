import type { Clock } from '../../runtime/clock.ts';

/** Notices when brokers say nothing any more, although connections stand and nothing fails: they hang, or the network swallows all. */
export interface Liveness {
  /** The coordinator has answered. */
  heard(): void;
  asking(node: number): void;
  answered(node: number): void;
  /** These lead what is wanted now. Of the others nothing is awaited: they have died, or it is not ours any more. */
  leading(nodes: ReadonlySet<number>): void;
  stop(): void;
}

const lookMs = 1_000;

/**
 * Silent is a coordinator that was not heard for longer than the limit, or a broker whose answer to a fetch is overdue by as much.
 * @param limitMs the session timeout: after as much silence in the other direction, the member is none any more.
 * @param onChange told how long the silence lasts when it begins, undefined when it is over.
 */
export function watchLiveness(
  clock: Clock,
  limitMs: number,
  onChange: (silentMs: number | undefined) => void,
): Liveness {
  let heardAt = clock.monotonic();
  let isSilent = false;
  /** By node that owes the answer to a fetch: since when. */
  const asked = new Map<number, number>();

  const look = () => {
    const now = clock.monotonic();
    const silentMs = now - Math.min(heardAt, ...asked.values());
    if (silentMs > limitMs === isSilent) return;
    isSilent = !isSilent;
    onChange(isSilent ? silentMs : undefined);
  };
  const timer = setInterval(look, lookMs);
  timer.unref();

  return {
    heard() {
      heardAt = clock.monotonic();
    },
    asking(node) {
      if (!asked.has(node)) asked.set(node, clock.monotonic());
    },
    answered: (node) => void asked.delete(node),
    leading(nodes) {
      for (const node of asked.keys()) if (!nodes.has(node)) asked.delete(node);
    },
    stop: () => clearInterval(timer),
  };
}
