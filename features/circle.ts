/**
 * The time of day as an angle, for circular statistics: cosine and sine by the minute of the UTC day, as integers of 2^-26, so that
 * their sums are exact in any order.
 */
const minutesOfDay = 1440;
const minuteMs = 60_000;
export const circleUnit = 2 ** 26;

const cosines = Float64Array.from({ length: minutesOfDay }, (_, minute) =>
  Math.round(Math.cos((minute * 2 * Math.PI) / minutesOfDay) * circleUnit),
);
const sines = Float64Array.from({ length: minutesOfDay }, (_, minute) =>
  Math.round(Math.sin((minute * 2 * Math.PI) / minutesOfDay) * circleUnit),
);

function minuteOfDay(time: number): number {
  const minute = Math.floor(time / minuteMs) % minutesOfDay;
  return minute < 0 ? minute + minutesOfDay : minute;
}

/** @param time milliseconds since the epoch. */
export function timeOfDay(kind: 'cosine' | 'sine', time: number): number {
  return (kind === 'cosine' ? cosines : sines)[minuteOfDay(time)];
}
