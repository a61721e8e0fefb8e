-- The 15 features of examples/handbook/weir.yaml from the raw transactions, as window functions over event time.
--
-- Of events at equal times only those before the current one in the log count, but a RANGE frame takes in all of its peers. So the
-- frames run over a key that no two events share, time * 2^20 + line, and their bounds are moved to fit. Before the event at (t, line),
-- (n - 1) * 2^20 + line is the distance to the first key of the millisecond t - n + 1, which begins the half-open (t - n, t]; it ends
-- at the event's own key. A delayed window (t - d - n, t - d] ends with the last key of the millisecond t - d.
--
-- All sums are of integers; each mean and ratio is one division of doubles that hold them exactly.
CREATE TABLE log AS
  SELECT transaction_id, ts_ms, customer_id, terminal_id, amount, fraud
  FROM read_csv(
    getvariable('transactions'),
    header = true,
    columns = {
      'transaction_id': 'VARCHAR', 'ts_ms': 'BIGINT', 'iso': 'VARCHAR', 'customer_id': 'VARCHAR', 'terminal_id': 'VARCHAR',
      'amount': 'DECIMAL(18, 2)', 'fraud': 'INTEGER', 'scenario': 'INTEGER'
    }
  );

CREATE MACRO day_ms() AS 86400000::BIGINT;
CREATE MACRO begins(width_ms, line) AS ((width_ms - 1) << 20) + line;
CREATE MACRO ends(delay_ms, line) AS (delay_ms << 20) + line - ((1 << 20) - 1);
CREATE MACRO ratio(part, whole) AS CASE WHEN whole = 0 THEN 0 ELSE part::DOUBLE / whole END;

CREATE TABLE wanted AS
  WITH events AS (
    SELECT *, rowid AS line, (ts_ms << 20) + rowid AS key, (amount * 100)::BIGINT AS minor, make_timestamp_ms(ts_ms) AS moment
    FROM log
  )
  SELECT
    transaction_id,
    minor / 100 AS "amount",
    (isodow(moment) >= 6)::INTEGER AS "is-weekend",
    (hour(moment) <= 6)::INTEGER AS "is-night",
    count(*) OVER customer_1 AS "customer.count.1d",
    count(*) OVER customer_7 AS "customer.count.7d",
    count(*) OVER customer_30 AS "customer.count.30d",
    sum(minor) OVER customer_1 / (100 * count(*) OVER customer_1) AS "customer.mean.amount.1d",
    sum(minor) OVER customer_7 / (100 * count(*) OVER customer_7) AS "customer.mean.amount.7d",
    sum(minor) OVER customer_30 / (100 * count(*) OVER customer_30) AS "customer.mean.amount.30d",
    count(*) OVER terminal_1 AS "terminal.count.1d.delay-7d",
    count(*) OVER terminal_7 AS "terminal.count.7d.delay-7d",
    count(*) OVER terminal_30 AS "terminal.count.30d.delay-7d",
    ratio(sum(fraud) OVER terminal_1, count(*) OVER terminal_1) AS "terminal.ratio.fraud.1d.delay-7d",
    ratio(sum(fraud) OVER terminal_7, count(*) OVER terminal_7) AS "terminal.ratio.fraud.7d.delay-7d",
    ratio(sum(fraud) OVER terminal_30, count(*) OVER terminal_30) AS "terminal.ratio.fraud.30d.delay-7d"
  FROM events
  WINDOW
    customer_1 AS (
      PARTITION BY customer_id ORDER BY key
      RANGE BETWEEN begins(day_ms(), line) PRECEDING AND CURRENT ROW
    ),
    customer_7 AS (
      PARTITION BY customer_id ORDER BY key
      RANGE BETWEEN begins(7 * day_ms(), line) PRECEDING AND CURRENT ROW
    ),
    customer_30 AS (
      PARTITION BY customer_id ORDER BY key
      RANGE BETWEEN begins(30 * day_ms(), line) PRECEDING AND CURRENT ROW
    ),
    terminal_1 AS (
      PARTITION BY terminal_id ORDER BY key
      RANGE BETWEEN begins(8 * day_ms(), line) PRECEDING AND ends(7 * day_ms(), line) PRECEDING
    ),
    terminal_7 AS (
      PARTITION BY terminal_id ORDER BY key
      RANGE BETWEEN begins(14 * day_ms(), line) PRECEDING AND ends(7 * day_ms(), line) PRECEDING
    ),
    terminal_30 AS (
      PARTITION BY terminal_id ORDER BY key
      RANGE BETWEEN begins(37 * day_ms(), line) PRECEDING AND ends(7 * day_ms(), line) PRECEDING
    );
