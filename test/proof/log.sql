-- The log that simulated-duckdb.test.ts makes. windows.sql and values.sql join each event with the ones of its entity that had been applied
-- by then: before it in the log (or itself) and not later in event time. `age` is how many milliseconds earlier the other one
-- happened, so that age < w is the window (t - w, t].
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
