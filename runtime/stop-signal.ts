import type { Clock } from './clock.ts';

/** The part of `process` that is used. */
export interface SignalSource {
  on(event: NodeJS.Signals | 'disconnect', listener: (name: NodeJS.Signals) => void): unknown;
  exit(code: number): unknown;
}

/**
 * One Ctrl-C may come as two signals: the terminal sends it to the whole process group, and npm passes it on to what it runs. Nobody
 * means two by two that come so close.
 */
const sameSignalMs = 1_000;

/** Whoever asks for a process's signal gets the same. */
const signals = new WeakMap<SignalSource, AbortSignal>();

/**
 * Aborts at the first SIGINT or SIGTERM, so that the work under way is finished; a second one, a second later or more, ends the process
 * at once. The signals stay taken for good: the command ends with its work.
 */
export function stopSignal(clock: Pick<Clock, 'monotonic'>, from: SignalSource = process): AbortSignal {
  const known = signals.get(from);
  if (known !== undefined) return known;
  const controller = new AbortController();
  signals.set(from, controller.signal);
  let firstAt = Number.NEGATIVE_INFINITY;
  const onSignal = (name: NodeJS.Signals) => {
    if (!controller.signal.aborted) {
      firstAt = clock.monotonic();
      controller.abort();
    } else if (clock.monotonic() - firstAt >= sameSignalMs) from.exit(name === 'SIGINT' ? 130 : 143);
  };
  from.on('SIGINT', onSignal);
  from.on('SIGTERM', onSignal);
  // A worker whose supervisor is gone drains as well: nobody would restart or stop it any more.
  from.on('disconnect', () => controller.abort());
  return controller.signal;
}
