-- The log that the test makes, and what the other files here share. Those join each event with the ones of its entity that had been
-- applied by then: before it in the log (or itself) and not later in event time. `age` is how many milliseconds earlier the other one
-- happened, so that age < w is the window (t - w, t]. All sums are of integers; what is not an integer is made of them by the same
-- few operations on doubles as in the documentation.
CREATE TABLE raw AS
  SELECT * FROM read_json(
    getvariable('log'),
    format = 'newline_delimited',
    columns = {
      'id': 'VARCHAR', 'ts': 'BIGINT', 'card': 'STRUCT(id VARCHAR)', 'account': 'STRUCT(id VARCHAR, age_days BIGINT)',
      'terminal': 'STRUCT(id VARCHAR, mcc VARCHAR)', 'device': 'STRUCT(id VARCHAR)', 'amount': 'DECIMAL(18, 2)', 'outcome': 'VARCHAR',
      'fraud': 'BOOLEAN', 'entry': 'VARCHAR', 'tip': 'DECIMAL(18, 2)', 'latitude': 'DOUBLE', 'longitude': 'DOUBLE'
    }
  );

CREATE TABLE events AS
  SELECT
    rowid AS line, id AS transaction_id, ts, card.id AS card, account.id AS account, terminal.id AS terminal, device.id AS device,
    (amount * 100)::BIGINT AS minor, account.age_days AS account_age, terminal.mcc, fraud,
    outcome = 'approved' AS approved, outcome = 'declined' AS declined, amount < 5 AS small, entry = 'online' AS online,
    (tip * 100)::BIGINT AS tip, latitude, longitude
  FROM raw;

CREATE MACRO minutes(n) AS n * 60000::BIGINT;
CREATE MACRO hours(n) AS n * 3600000::BIGINT;
CREATE MACRO days(n) AS n * 86400000::BIGINT;
CREATE MACRO amount(minor) AS coalesce(minor, 0) / 100;
CREATE MACRO mean(total, n) AS CASE WHEN n = 0 THEN 0 ELSE total / n END;
CREATE MACRO ratio(part, n) AS CASE WHEN n = 0 THEN 0 ELSE part / n END;
CREATE MACRO stddev_amount(n, total, squares) AS
  CASE WHEN n = 0 THEN 0 ELSE sqrt((n * squares - total * total)::DOUBLE) / n / 100 END;
CREATE MACRO seconds(age, width) AS coalesce(age, width) / 1000;
CREATE MACRO is_new(value, seen) AS (value IS NOT NULL AND NOT coalesce(seen, false))::INTEGER;
