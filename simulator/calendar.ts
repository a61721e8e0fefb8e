import type { Random } from '../runtime/random.ts';

export const minute = 60_000;
export const hour = 60 * minute;
export const day = 24 * hour;

/** Everybody lives in Central European Time (without daylight saving). */
const zone = hour;

export const hourOfDay = (time: number): number => Math.floor((((time + zone) % day) + day) / hour) % 24;

/** 0 is Monday; the epoch was a Thursday. */
const dayOfWeek = (time: number): number => (((Math.floor((time + zone) / day) + 3) % 7) + 7) % 7;

/** Card payments per hour of the day, relative to the busiest. */
const weekdayShape = [
  0.08, 0.05, 0.04, 0.03, 0.04, 0.1, 0.25, 0.5, 0.65, 0.66, 0.7, 0.8, 0.92, 0.82, 0.74, 0.78, 0.9, 1, 1, 0.86, 0.66,
  0.48, 0.32, 0.17,
];
const weekendShape = [
  0.16, 0.12, 0.08, 0.05, 0.04, 0.05, 0.1, 0.22, 0.45, 0.72, 0.92, 1, 1, 0.95, 0.9, 0.88, 0.86, 0.84, 0.84, 0.8, 0.7,
  0.56, 0.42, 0.27,
];
/** Monday to Sunday: Saturdays are busiest, Sundays quiet. */
const dayShape = [0.82, 0.84, 0.86, 0.9, 1, 1, 0.66];

/** How busy the given moment is, between 0 and 1, running smoothly from one hour to the next. */
function busyness(time: number): number {
  const weekday = dayOfWeek(time);
  const shape = weekday >= 5 ? weekendShape : weekdayShape;
  const at = hourOfDay(time);
  const part = ((((time + zone) % hour) + hour) % hour) / hour;
  return dayShape[weekday] * (shape[at] * (1 - part) + shape[(at + 1) % 24] * part);
}

const meanBusyness = (() => {
  let total = 0;
  for (let at = 0; at < 7 * 24 * 12; at++) total += busyness(at * 5 * minute);
  return total / (7 * 24 * 12);
})();

/**
 * The next arrival after `time` of an inhomogeneous Poisson process with `perDay` arrivals a day on average
 * (thinning, Lewis and Shedler 1979).
 */
export function nextArrival(time: number, perDay: number, random: Random): number {
  const meanGap = (day * meanBusyness) / perDay;
  let at = time;
  do at += random.exponential(meanGap);
  while (random.next() >= busyness(at));
  return at;
}

/** The first moment from `time` on that shops are open: `time` itself, or nine in the morning with some spread. */
export function whenShopsAreOpen(time: number, random: Random): number {
  const at = hourOfDay(time);
  if (at >= 8 && at < 21) return time;
  return time + ((9 - at + 24) % 24) * hour + random.next() * 2 * hour;
}
