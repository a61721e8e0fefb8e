import type { Clock } from '../../runtime/clock.ts';

/** Notices when brokers say nothing any more, although connections stand and nothing fails: they hang, or the network swallows all. */
export interface Liveness {
  /** The coordinator has answered. */
  heard(): void;
  asking(node: number): void;
  answered(node: number): void;
  stop(): void;
}

const lookMs = 1_000;

/**
 * Silent is a coordinator that was not heard for longer than the limit, or a broker whose answer to a fetch is overdue by as much.
 * @param limitMs the session timeout: after as much silence in the other direction, the member is none any more.
 * @param requestMs after which a request that is not answered fails.
 * @param onChange told how long the silence lasts when it begins, undefined when it is over.
 */
export function watchLiveness(
  clock: Clock,
  { limitMs, requestMs }: { readonly limitMs: number; readonly requestMs: number },
  onChange: (silentMs: number | undefined) => void,
): Liveness {
  let heardAt = clock.monotonic();
  let isSilent = false;
  /** Fetches under way: since when the node is silent, and when it was last asked. */
  const asked = new Map<number, { readonly since: number; last: number }>();

  const look = () => {
    const now = clock.monotonic();
    let silentMs = now - heardAt;
    for (const [node, { since, last }] of asked) {
      // Asked no more: the node has left the cluster.
      if (now - last > 2 * requestMs) asked.delete(node);
      else silentMs = Math.max(silentMs, now - since);
    }
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
      const now = clock.monotonic();
      const before = asked.get(node);
      if (before) before.last = now;
      else asked.set(node, { since: now, last: now });
    },
    answered: (node) => void asked.delete(node),
    stop: () => clearInterval(timer),
  };
}
