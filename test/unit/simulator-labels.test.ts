import { describe, expect, it } from '@jest/globals';
import { type EventStreamOptions, simulateEvents } from '../../simulator/event-stream.ts';
import {
  type LabelledEvent,
  labelledCsvHeader,
  labelledCsvLine,
  labelledJsonLine,
} from '../../simulator/labelled-event.ts';
import { simulateTransactions } from '../../simulator/stream.ts';
import { jsonLine } from '../../simulator/transaction.ts';

const minute = 60_000;
const hour = 60 * minute;
const day = 24 * hour;

const simulate = (options: Partial<EventStreamOptions> & { events: number }): LabelledEvent[] => {
  const { events } = simulateEvents({ seed: 7, labels: true, lateShare: 0, ...options });
  return [...events];
};
/** 50,000 transactions over 126 days, so that most labels come among them. */
const events = simulate({ events: 50_000, customers: 200 });
const transactions = new Map(
  events.filter(({ type }) => type === 'authorization').map((event) => [event.id, event] as const),
);
const labels = events.filter(({ type }) => type !== 'authorization');
const labelsOf = (type: string) => labels.filter((label) => label.type === type);
const placeOf = new Map(events.map(({ id }, place) => [id, place] as const).reverse());

describe('a stream with labels', () => {
  it('has the transactions of one without, with more about them', () => {
    const plain = [...simulateTransactions({ seed: 7, events: 50_000, customers: 200 })];
    expect(transactions.size).toBe(plain.length);
    for (const transaction of plain) {
      const { email, location, outcome, ...same } = transactions.get(transaction.id)!;
      const { outcome: before, ...rest } = transaction;
      const isSame =
        JSON.stringify(same) === JSON.stringify(rest) &&
        (outcome === before || (outcome === 'blocked' && before === 'declined')) &&
        location !== undefined &&
        (email !== undefined) === (transaction.device !== undefined);
      if (!isSame)
        throw new Error(`${labelledJsonLine(transactions.get(transaction.id)!)} of ${jsonLine(transaction)}`);
    }
  });

  it('is the same for the same seed, and a longer one begins like it', () => {
    const options = { customers: 100, terminals: 60 };
    const some = simulate({ ...options, events: 2000 }).map(labelledJsonLine);
    expect(simulate({ ...options, events: 2000 }).map(labelledJsonLine)).toEqual(some);
    const more = simulate({ ...options, events: 4000 }).map(labelledJsonLine);
    const last = some.findLastIndex((line) => line.includes('"authorization"'));
    expect(more.slice(0, last + 1)).toEqual(some.slice(0, last + 1));
    expect(simulate({ ...options, events: 2000, seed: 8 }).map(labelledJsonLine)).not.toEqual(some);
  });

  it('says of a transaction what has its entities, a time of its own and an id of its own', () => {
    for (const label of labels) {
      const { refers_to, type, id, ts, amount, ...same } = label;
      const transaction = transactions.get(refers_to!)!;
      expect(transaction).toMatchObject(same);
      expect(transactions.has(id)).toBe(false);
      expect(Number.isSafeInteger(ts) && ts > transaction.ts && ts < transaction.ts + 130 * day).toBe(true);
      expect(amount).toMatch(/^\d+\.\d\d$/);
      const isPart = type === 'refund' && Number(amount) > 0 && Number(amount) < Number(transaction.amount);
      expect(amount === transaction.amount || isPart).toBe(true);
    }
    expect(
      labelsOf('refund').filter(({ refers_to, amount }) => transactions.get(refers_to!)!.amount !== amount).length,
    ).toBeGreaterThan(100);
  });

  it('reports fraud for the most part, within days to weeks', () => {
    const shareOfFraud = (type: string) =>
      labelsOf(type).filter(({ refers_to }) => transactions.get(refers_to!)!.fraud).length / labelsOf(type).length;
    expect(labelsOf('chargeback').length).toBeGreaterThan(100);
    expect(shareOfFraud('chargeback')).toBeGreaterThan(0.75);
    expect(shareOfFraud('chargeback')).toBeLessThan(1);
    expect(shareOfFraud('fraud_report')).toBeGreaterThan(0.8);
    expect(shareOfFraud('refund')).toBeLessThan(0.05);
    const delays = labelsOf('chargeback').map(({ ts, refers_to }) => ts - transactions.get(refers_to!)!.ts);
    delays.sort((a, b) => a - b);
    expect(delays[delays.length >> 1]).toBeGreaterThan(14 * day);
    expect(delays[delays.length >> 1]).toBeLessThan(28 * day);
    const known = [...transactions.values()].filter(({ fraud, outcome }) => fraud && outcome === 'approved');
    const reported = new Set(labelsOf('fraud_report').map(({ refers_to }) => refers_to));
    const share = known.filter(({ id }) => reported.has(id)).length / known.length;
    expect(share).toBeGreaterThan(0.6);
    expect(share).toBeLessThan(0.8);
  });

  it('goes on until all is said', () => {
    const last = events.findLastIndex(({ type }) => type === 'authorization');
    expect(events.length - 1 - last).toBeGreaterThan(50);
    expect(events.at(-1)!.ts - events[last].ts).toBeGreaterThan(7 * day);
  });

  it('says some things twice: the same event again, or a second event about the same', () => {
    const byId = new Map<string, LabelledEvent[]>();
    for (const label of labels) byId.set(label.id, [...(byId.get(label.id) ?? []), label]);
    const resent = [...byId.values()].filter((copies) => copies.length > 1);
    expect(resent.length).toBeGreaterThan(20);
    for (const [first, second] of resent) expect(second).toEqual(first);
    const about = [...byId.values()].map(([{ type, refers_to }]) => `${type} ${refers_to}`);
    expect(about.length - new Set(about).size).toBeGreaterThan(10);
  });

  it('has some a little out of order, and a few before their transaction', () => {
    let latest = 0;
    let behind = 0;
    for (const { ts, type } of events) {
      if (type !== 'authorization' && ts < latest - minute) behind++;
      latest = Math.max(latest, ts);
    }
    expect(behind / labels.length).toBeGreaterThan(0.03);
    expect(behind / labels.length).toBeLessThan(0.25);
    const early = labels.filter(({ id, refers_to }) => placeOf.get(id)! < placeOf.get(refers_to!)!);
    expect(early.length).toBeGreaterThan(3);
    expect(early.length / labels.length).toBeLessThan(0.03);
  });

  it('keeps in memory what is under way: a few labels for each shopper, however long it lasts', () => {
    const customers = 40;
    const { events: endless } = simulateEvents({
      ...{ seed: 3, events: Number.POSITIVE_INFINITY, customers, labels: true, lateShare: 0.01 },
    });
    const firstSeen = new Map<string, number>();
    const changes = new Int32Array(100_000);
    for (let place = 0; place < changes.length; place++) {
      const { id, type, refers_to } = endless.next().value as LabelledEvent;
      if (type === 'authorization') firstSeen.set(id, place);
      else changes[firstSeen.get(refers_to!) ?? place]++;
      if (type !== 'authorization') changes[place]--;
    }
    let underWay = 0;
    const counts = changes.map((change) => {
      underWay += change;
      return underWay;
    });
    const most = (from: number, to: number) => counts.subarray(from, to).reduce((a, b) => Math.max(a, b), 0);
    expect(most(60_000, 90_000)).toBeLessThan(5 * customers);
    expect(most(60_000, 90_000)).toBeLessThan(2 * most(10_000, 40_000));
  });
});

describe('late events', () => {
  const options = { seed: 5, events: 5000, customers: 100 };

  it.each([
    [0.02, true],
    [0.2, false],
    [1, true],
  ])('are as many as asked for, minutes to hours behind, and nothing else changes: %d', (lateShare, hasLabels) => {
    const of = (share: number) => simulate({ ...options, labels: hasLabels, lateShare: share });
    const [onTime, late] = [of(0), of(lateShare)];
    const lines = (list: LabelledEvent[]) => list.map((event) => JSON.stringify(event));
    expect(lines(late)).not.toEqual(lines(onTime));
    expect(lines(late).sort()).toEqual(lines(onTime).sort());
    const behind = (list: LabelledEvent[]) => {
      let latest = 0;
      const times = list
        .filter(({ type }) => type === 'authorization')
        .map(({ ts }) => {
          latest = Math.max(latest, ts);
          return latest - ts;
        });
      return { count: times.filter((time) => time >= minute).length / times.length, most: Math.max(...times) };
    };
    expect(behind(onTime).count).toBeLessThan(0.005);
    expect(behind(late).most).toBeLessThan((hasLabels ? 21 : 12) * hour + minute);
    expect(behind(late).most).toBeGreaterThan(2 * hour);
    if (lateShare === 1) return;
    expect(behind(late).count).toBeGreaterThan(0.8 * lateShare);
    expect(behind(late).count).toBeLessThan(1.2 * lateShare);
  });

  it('are none by default: the events are those of simulateTransactions', () => {
    const { events: plain } = simulateEvents({ ...options, labels: false, lateShare: 0 });
    expect([...plain].map((event) => JSON.stringify(event))).toEqual([...simulateTransactions(options)].map(jsonLine));
  });
});

describe('where and who', () => {
  const kilometres = (a: LabelledEvent, b: LabelledEvent) => {
    const radians = Math.PI / 180;
    const [from, to] = [a.location!, b.location!];
    const h =
      Math.sin(((to.latitude - from.latitude) * radians) / 2) ** 2 +
      Math.cos(from.latitude * radians) *
        Math.cos(to.latitude * radians) *
        Math.sin(((to.longitude - from.longitude) * radians) / 2) ** 2;
    return 2 * 6371 * Math.asin(Math.sqrt(h));
  };

  it('a terminal stays where it is, in its country', () => {
    const places = new Map<string, LabelledEvent>();
    for (const event of transactions.values()) {
      const { location, terminal, device } = event;
      const { latitude } = location!;
      if (Math.abs(latitude) > 60 || Number(latitude.toFixed(4)) !== latitude) throw new Error(`latitude ${latitude}`);
      if (device !== undefined) continue;
      if (terminal.country === 'DE' && Math.abs(latitude - 51) > 3) throw new Error(`${latitude} is not in Germany`);
      const known = places.get(terminal.id);
      if (known === undefined) places.set(terminal.id, event);
      else if (known.location!.longitude !== location!.longitude) throw new Error(`${terminal.id} moves`);
    }
  });

  it('most shoppers move no faster than people do, and thieves often do', () => {
    const last = new Map<string, LabelledEvent>();
    const fast = { honest: 0, stolen: 0 };
    const all = { honest: 0, stolen: 0 };
    for (const event of [...transactions.values()].sort((a, b) => a.ts - b.ts)) {
      const before = last.get(event.card.id);
      last.set(event.card.id, event);
      if (before === undefined || before.fraud) continue;
      const isStolen = event.fraud_kind === 'account_takeover' || event.fraud_kind === 'compromised_terminal';
      if (event.fraud && !isStolen) continue;
      const who = isStolen ? 'stolen' : 'honest';
      all[who]++;
      const speed = kilometres(before, event) / Math.max(0.1, (event.ts - before.ts) / hour);
      if (speed > 300) fast[who]++;
    }
    expect(fast.honest / all.honest).toBeLessThan(0.035);
    expect(fast.stolen / all.stolen).toBeGreaterThan(5 * (fast.honest / all.honest));
  });

  it('a shopper orders from home with a device of their own, honest or not', () => {
    const places = new Map<string, Set<string>>();
    const from = ({ account, location }: LabelledEvent) => [account.id, JSON.stringify(location)] as const;
    for (const event of transactions.values()) {
      const [account, place] = from(event);
      if (event.device !== undefined && !event.fraud)
        places.set(account, (places.get(account) ?? new Set()).add(place));
    }
    const bustOuts = [...transactions.values()].filter(
      ({ fraud_kind, device, account }) => fraud_kind === 'bust_out' && device !== undefined && places.has(account.id),
    );
    expect(bustOuts.length).toBeGreaterThan(10);
    const known = bustOuts.filter((event) => places.get(event.account.id)!.has(from(event)[1]));
    expect(known.length / bustOuts.length).toBeGreaterThan(0.7);
  });

  it('an e-mail address is one shopper, or one thief with many cards', () => {
    const cardsOf = new Map<string, Set<string>>();
    for (const { email, card, fraud_kind } of transactions.values()) {
      if (email === undefined) continue;
      if (!/^\S+@[a-zA-Z]+\.[a-zA-Z]+$/.test(email)) throw new Error(email);
      const key = `${fraud_kind === 'card_testing'} ${email.toLowerCase()}`;
      cardsOf.set(key, (cardsOf.get(key) ?? new Set()).add(card.id));
    }
    const most = (wanted: string) =>
      Math.max(...[...cardsOf].filter(([key]) => key.startsWith(wanted)).map(([, cards]) => cards.size));
    expect(most('true')).toBeGreaterThan(9);
    const honest = [...cardsOf].filter(([key]) => key.startsWith('false')).map(([, cards]) => cards.size);
    expect(honest.filter((size) => size > 6).length / honest.length).toBeLessThan(0.05);
    expect([...transactions.values()].some(({ email }) => email !== undefined && email !== email.toLowerCase())).toBe(
      true,
    );
  });

  it('merchants block a part of what would be declined online, fraud above all', () => {
    const stopped = [...transactions.values()].filter(({ outcome, device }) => outcome !== 'approved' && device);
    const share = (isFraud: boolean) => {
      const of = stopped.filter(({ fraud }) => fraud === isFraud);
      return of.filter(({ outcome }) => outcome === 'blocked').length / of.length;
    };
    expect(share(true)).toBeGreaterThan(0.35);
    expect(share(false)).toBeGreaterThan(0.04);
    expect(share(false)).toBeLessThan(0.2);
  });
});

describe('lines with labels', () => {
  it('of CSV carry the same data as those of JSON', () => {
    const columns = labelledCsvHeader.split(',');
    for (const event of [...events.slice(0, 1000), ...labels.slice(0, 300)]) {
      const values = labelledCsvLine(event).split(',');
      expect(values.length).toBe(columns.length);
      const row = Object.fromEntries(columns.map((column, index) => [column, values[index]]));
      const { card, account, terminal, device, location, ...rest } = JSON.parse(labelledJsonLine(event));
      const flat = {
        ...rest,
        ...{ card_id: card.id, card_bin: card.bin, card_country: card.country },
        ...{ account_id: account.id, email_domain: account.email_domain, age_days: account.age_days },
        ...{ terminal_id: terminal.id, mcc: terminal.mcc, terminal_country: terminal.country },
        ...{ device_id: device?.id, ip: device?.ip, latitude: location?.latitude, longitude: location?.longitude },
      };
      for (const column of columns) expect(row[column]).toBe(String(flat[column] ?? ''));
    }
  });
});
