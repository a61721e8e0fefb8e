const dayMs = 86_400_000;
const two = Array.from({ length: 60 }, (_, value) => String(value).padStart(2, '0'));
const three = Array.from({ length: 1000 }, (_, value) => String(value).padStart(3, '0'));

/**
 * Formats milliseconds since the epoch (1970 to 9999) as `2026-11-25T09:30:00.000Z`, as Date.toISOString() does; that one takes nearly
 * half a microsecond, this a tenth of it, because times in a stream are mostly of the same day.
 */
export function createTimeFormat(): (time: number) => string {
  let day = Number.NaN;
  let date = '';
  return (time) => {
    const dayOfTime = Math.floor(time / dayMs);
    if (dayOfTime !== day) {
      day = dayOfTime;
      date = new Date(time).toISOString().slice(0, 11);
    }
    const ms = time - day * dayMs;
    const seconds = Math.floor(ms / 1000);
    const minutes = Math.floor(seconds / 60);
    const hours = Math.floor(minutes / 60);
    return `${date}${two[hours]}:${two[minutes - hours * 60]}:${two[seconds - minutes * 60]}.${three[ms - seconds * 1000]}Z`;
  };
}
