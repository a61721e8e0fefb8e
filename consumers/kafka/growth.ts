import type { Clock } from '../../runtime/clock.ts';
import type { InputMark } from '../ports.ts';

/**
 * Whether a topic has got more partitions since the job began. Neither the topic nor the state can say it, which may be lost; so it is kept
 * with the group's positions.
 */
export interface Growth {
  /** The topic has so many partitions by now. */
  counted(partitions: number): void;
  /**
   * What is kept with the group's positions, by position; empty where nothing is. None: the job begins. Gives whether they do not know of the partitions
   * that there are: that counts as a growth now.
   */
  learn(marks: readonly string[]): boolean;
  /** When it was found to have grown last, milliseconds since the epoch; -Infinity: it has not. */
  at(): number;
  /** What is to be kept with each position from now on. */
  readonly mark: InputMark;
}

interface Mark {
  readonly partitions: number;
  readonly grownAt: number;
}

export function createGrowth(clock: Clock): Growth {
  let count = 0;
  let grownAt = Number.NEGATIVE_INFINITY;

  const grown = () => {
    grownAt = clock.now();
  };

  function learn(marks: readonly string[]): boolean {
    if (marks.length === 0) return false;
    const read = marks.map(readMark).filter((mark) => mark !== undefined);
    // Idle partitions keep the mark of an earlier count. Positions without a mark are somebody else's, who may have seen the topic grow.
    const isNews = Math.max(...read.map(({ partitions }) => partitions)) < count;
    if (isNews) grown();
    grownAt = Math.max(grownAt, ...read.map((mark) => mark.grownAt));
    return isNews;
  }

  return {
    counted(partitions) {
      if (count > 0 && partitions > count) grown();
      count = partitions;
    },
    learn,
    at: () => grownAt,
    mark: {
      get text() {
        return JSON.stringify({ partitions: count, grown: Number.isFinite(grownAt) ? grownAt : undefined });
      },
      async continues(text) {
        learn([text]);
        return true;
      },
    },
  };
}

function readMark(text: string): Mark | undefined {
  try {
    const { partitions, grown = Number.NEGATIVE_INFINITY } = JSON.parse(text);
    return Number.isInteger(partitions) && typeof grown === 'number' ? { partitions, grownAt: grown } : undefined;
  } catch {
    return undefined;
  }
}
