-- The features of windows.yaml; macros.sql and log.sql come before.
CREATE TABLE of_card AS
  WITH pairs AS (
    SELECT
      now.line, now.mcc AS mcc_now, now.device AS device_now, now.ts - other.ts AS age, other.line = now.line AS is_current, other.*
      EXCLUDE (line)
    FROM events AS now JOIN events AS other ON other.card = now.card AND other.line <= now.line
    WHERE other.ts <= now.ts
  )
  SELECT
    line,
    count(*) FILTER (age < minutes(10)) AS "card.count.10m",
    count(*) FILTER (age < hours(1)) AS "card.count.1h",
    count(*) FILTER (age < days(7)) AS "card.count.7d",
    amount(sum(minor) FILTER (age < minutes(10))) AS "card.sum.amount.10m",
    amount(sum(minor) FILTER (age < hours(1))) AS "card.sum.amount.1h",
    amount(sum(minor) FILTER (age < days(7))) AS "card.sum.amount.7d",
    mean(sum(minor) FILTER (age < minutes(10)), 100 * "card.count.10m") AS "card.mean.amount.10m",
    mean(sum(minor) FILTER (age < hours(1)), 100 * "card.count.1h") AS "card.mean.amount.1h",
    mean(sum(minor) FILTER (age < days(7)), 100 * "card.count.7d") AS "card.mean.amount.7d",
    amount(min(minor) FILTER (age < days(7) AND NOT is_current)) AS "card.min.amount.7d.exclude-current",
    amount(max(minor) FILTER (age < days(7) AND NOT is_current)) AS "card.max.amount.7d.exclude-current",
    stddev_amount(
      "card.count.7d" - 1,
      sum(minor) FILTER (age < days(7) AND NOT is_current),
      sum(minor * minor) FILTER (age < days(7) AND NOT is_current)
    ) AS "card.stddev.amount.7d.exclude-current",
    count(*) FILTER (age < days(7) AND approved) AS "card.count.approved.7d",
    amount(sum(minor) FILTER (age < days(7) AND approved)) AS "card.sum.amount.approved.7d",
    stddev_amount(
      "card.count.approved.7d",
      sum(minor) FILTER (age < days(7) AND approved),
      sum(minor * minor) FILTER (age < days(7) AND approved)
    ) AS "card.stddev.amount.approved.7d",
    ratio(count(*) FILTER (age < days(7) AND approved AND small), "card.count.approved.7d") AS "card.ratio.small.approved.7d",
    seconds(min(age) FILTER (age < hours(1) AND NOT is_current), hours(1)) AS "card.time-since-last.1h",
    seconds(min(age) FILTER (age < days(14) AND NOT is_current), days(14)) AS "card.time-since-last.14d",
    seconds(min(age) FILTER (age < days(14) AND NOT is_current AND approved), days(14)) AS "card.time-since-last.approved.14d",
    is_new(any_value(mcc_now), bool_or(mcc = mcc_now) FILTER (age < hours(1) AND NOT is_current)) AS "card.is-new.mcc.1h",
    is_new(any_value(mcc_now), bool_or(mcc = mcc_now) FILTER (age < days(14) AND NOT is_current)) AS "card.is-new.mcc.14d",
    is_new(any_value(mcc_now), bool_or(mcc = mcc_now) FILTER (age < days(14) AND NOT is_current AND approved))
      AS "card.is-new.mcc.approved.14d",
    is_new(any_value(device_now), bool_or(device = device_now) FILTER (age < hours(1) AND NOT is_current))
      AS "card.is-new.device_id.1h",
    is_new(any_value(device_now), bool_or(device = device_now) FILTER (age < days(14) AND NOT is_current))
      AS "card.is-new.device_id.14d"
  FROM pairs
  GROUP BY line;

CREATE TABLE of_account AS
  WITH pairs AS (
    SELECT now.line, now.ts - other.ts - minutes(10) AS age, other.minor
    FROM events AS now JOIN events AS other ON other.account = now.account AND other.line <= now.line
    WHERE other.ts <= now.ts - minutes(10) AND other.declined
  )
  SELECT
    line,
    count(*) FILTER (age < hours(1)) AS "account.count.declined.1h.delay-10m",
    count(*) FILTER (age < hours(24)) AS "account.count.declined.24h.delay-10m",
    amount(min(minor) FILTER (age < hours(1))) AS "account.min.amount.declined.1h.delay-10m",
    amount(min(minor) FILTER (age < hours(24))) AS "account.min.amount.declined.24h.delay-10m",
    amount(max(minor) FILTER (age < hours(1))) AS "account.max.amount.declined.1h.delay-10m",
    amount(max(minor) FILTER (age < hours(24))) AS "account.max.amount.declined.24h.delay-10m"
  FROM (SELECT line FROM events) LEFT JOIN pairs USING (line)
  GROUP BY line;

CREATE TABLE of_terminal AS
  WITH pairs AS (
    SELECT now.line, now.ts - other.ts - days(1) AS age, other.minor, other.fraud, other.declined
    FROM events AS now JOIN events AS other ON other.terminal = now.terminal AND other.line <= now.line
    WHERE other.ts <= now.ts - days(1)
  )
  SELECT
    line,
    count(*) FILTER (age < hours(1)) AS "terminal.count.1h.delay-1d",
    count(*) FILTER (age < days(7)) AS "terminal.count.7d.delay-1d",
    ratio(count(*) FILTER (age < hours(1) AND fraud), "terminal.count.1h.delay-1d") AS "terminal.ratio.fraud.1h.delay-1d",
    ratio(count(*) FILTER (age < days(7) AND fraud), "terminal.count.7d.delay-1d") AS "terminal.ratio.fraud.7d.delay-1d",
    ratio(count(*) FILTER (age < hours(1) AND declined), "terminal.count.1h.delay-1d") AS "terminal.ratio.declined.1h.delay-1d",
    ratio(count(*) FILTER (age < days(7) AND declined), "terminal.count.7d.delay-1d") AS "terminal.ratio.declined.7d.delay-1d",
    stddev_amount(
      "terminal.count.1h.delay-1d", sum(minor) FILTER (age < hours(1)), sum(minor * minor) FILTER (age < hours(1))
    ) AS "terminal.stddev.amount.1h.delay-1d",
    stddev_amount(
      "terminal.count.7d.delay-1d", sum(minor) FILTER (age < days(7)), sum(minor * minor) FILTER (age < days(7))
    ) AS "terminal.stddev.amount.7d.delay-1d"
  FROM (SELECT line FROM events) LEFT JOIN pairs USING (line)
  GROUP BY line;

CREATE TABLE of_device AS
  WITH pairs AS (
    SELECT now.line, now.ts - other.ts AS age, other.line = now.line AS is_current, other.account_age, other.declined, other.small
    FROM events AS now JOIN events AS other ON other.device = now.device AND other.line <= now.line
    WHERE other.ts <= now.ts
  )
  SELECT
    line,
    count(*) FILTER (age < hours(1)) AS "device.count.1h",
    count(*) FILTER (age < hours(24)) AS "device.count.24h",
    coalesce(sum(account_age) FILTER (age < hours(1)), 0) AS "device.sum.account_age.1h",
    coalesce(sum(account_age) FILTER (age < hours(24)), 0) AS "device.sum.account_age.24h",
    ratio(count(*) FILTER (age < hours(1) AND declined), "device.count.1h") AS "device.ratio.declined.1h",
    ratio(count(*) FILTER (age < hours(24) AND declined), "device.count.24h") AS "device.ratio.declined.24h",
    seconds(min(age) FILTER (age < hours(24) AND small AND NOT is_current), hours(24))
      AS "device.time-since-last.small.24h.exclude-current",
    mean(
      sum(account_age) FILTER (age < hours(24) AND small AND NOT is_current),
      count(*) FILTER (age < hours(24) AND small AND NOT is_current)
    ) AS "device.mean.account_age.small.24h.exclude-current"
  FROM (SELECT line FROM events) LEFT JOIN pairs USING (line)
  GROUP BY line;

CREATE TABLE wanted AS
  SELECT
    events.transaction_id, events.minor / 100 AS "amount", events.account_age,
    (isodow(make_timestamp_ms(ts)) >= 6)::INTEGER AS "is-weekend",
    (hour(make_timestamp_ms(ts)) <= 6)::INTEGER AS "is-night",
    of_card.* EXCLUDE (line), of_account.* EXCLUDE (line), of_terminal.* EXCLUDE (line), of_device.* EXCLUDE (line)
  FROM events JOIN of_card USING (line) JOIN of_account USING (line) JOIN of_terminal USING (line) JOIN of_device USING (line);
