import { describeError, WeirError } from '../runtime/errors.ts';
import { type Ownership, partitionName, type Source } from './ports.ts';
import type { ServeEnd } from './serve.ts';

/**
 * Serves each partition that the source yields, from its gain to its loss, until the signal aborts, nothing more can come, all that is
 * owned has ended, or one service fails: then all stop, each after what it has under way.
 * @param serve a partition's life in this process; it is to end when the signal that it is given aborts.
 * @throws what the first failing service threw, after all have ended.
 */
export async function serveOwnerships(
  source: Source,
  signal: AbortSignal,
  serve: (ownership: Ownership, stopping: AbortSignal) => Promise<ServeEnd>,
): Promise<void> {
  const stopping = linkedAbort(signal);
  /** The last service of each partition by name; its successor, after a rebalance, waits until it has ended. */
  const services = new Map<string, Promise<void>>();
  /** What is owned, and whether its end was reached. */
  const held = new Map<Ownership, boolean>();
  let fatal: unknown;

  /** One part's fatal fault stops them all; the partitions finish their batches first. */
  const stopBy = (error: unknown) => {
    fatal ??= error;
    stopping.abort();
  };

  /** Never rejects: the partition's next service waits for it. */
  async function serveToEnd(ownership: Ownership): Promise<void> {
    const end = await serve(ownership, stopping.signal).catch((error: unknown): ServeEnd => {
      stopBy(error);
      return 'stopped';
    });
    if (end === 'ended') keepEnded(ownership);
    else await ownership.release().catch(stopBy);
    stopAtEnd();
  }

  /** What was read to its end stays owned until all is: given back, it would only be read by somebody else. Unless somebody waits for it. */
  function keepEnded(ownership: Ownership): void {
    held.set(ownership, true);
    const { recalled } = ownership;
    const release = () => void ownership.release().catch(stopBy);
    if (recalled?.aborted) release();
    else recalled?.addEventListener('abort', release, { once: true });
  }

  /** Nothing that is owned has anything left to read. What a rebalance took away comes back or goes to somebody else. */
  function stopAtEnd(): void {
    for (const ownership of held.keys()) if (ownership.revoked.aborted) held.delete(ownership);
    if (held.size > 0 && [...held.values()].every((hasEnded) => hasEnded)) stopping.abort();
  }

  try {
    for await (const ownership of source.ownerships(stopping.signal)) {
      const name = partitionName(ownership);
      held.set(ownership, false);
      const former = services.get(name) ?? Promise.resolve();
      services.set(
        name,
        former.then(() => serveToEnd(ownership)),
      );
    }
  } catch (error) {
    stopBy(error);
  }
  await Promise.all(services.values());
  stopping.unlink();
  if (fatal !== undefined) throw fatal instanceof Error ? fatal : new WeirError('INTERNAL', describeError(fatal));
}

/** Aborts with the signal, or by itself. */
function linkedAbort(signal: AbortSignal) {
  const controller = new AbortController();
  const abort = () => controller.abort();
  signal.addEventListener('abort', abort, { once: true });
  if (signal.aborted) abort();
  return { signal: controller.signal, abort, unlink: () => signal.removeEventListener('abort', abort) };
}
