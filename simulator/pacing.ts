/**
 * How many of the events due by now are still to be sent: `perSecond` from the start on, `Infinity` for as fast as
 * possible. A sender that has fallen behind owes a number, not a queue, so no memory is at stake.
 */
export function eventsDue(perSecond: number, elapsedMs: number, sent: number): number {
  return perSecond === Number.POSITIVE_INFINITY ? perSecond : Math.floor((perSecond * elapsedMs) / 1000) - sent;
}
