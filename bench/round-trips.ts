import type { WeirProcess } from '../test/support/weir-process.ts';

const pollMs = 100;

/**
 * Reads a running job's /metrics again and again (it has to log its `metrics_port`); `stop` gives the round trips to Redis per scored
 * event as of the last reading, the start of the job included.
 */
export function watchRoundTrips(weir: WeirProcess): { stop(): number } {
  let perEvent = Number.NaN;
  const timer = setInterval(async () => {
    const port = /"metrics_port":(\d+)/.exec(weir.stderr())?.[1];
    if (port === undefined) return;
    const text = await fetch(`http://127.0.0.1:${port}/metrics`).then(
      (answer) => answer.text(),
      () => '',
    );
    const value = (name: string) => Number(new RegExp(`^${name} (\\d+)$`, 'm').exec(text)?.[1] ?? Number.NaN);
    const ratio = value('weir_redis_round_trips_total') / value('weir_scored_total');
    if (Number.isFinite(ratio)) perEvent = ratio;
  }, pollMs);
  return {
    stop() {
      clearInterval(timer);
      return perEvent;
    },
  };
}
