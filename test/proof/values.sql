-- The features of values.yaml; macros.sql and log.sql come before.
CREATE VIEW card_pairs AS
  SELECT
    now.line, now.ts AS ts_now, now.mcc AS mcc_now, now.device AS device_now, now.minor AS minor_now, now.tip AS tip_now,
    now.latitude AS latitude_now, now.longitude AS longitude_now, now.ts - other.ts AS age, other.line = now.line AS is_current,
    other.* EXCLUDE (line)
  FROM events AS now JOIN events AS other ON other.card = now.card AND other.line <= now.line
  WHERE other.ts <= now.ts;

CREATE VIEW account_pairs AS
  SELECT now.line, now.ts - other.ts - minutes(10) AS age, other.mcc, other.device, other.minor, other.declined
  FROM events AS now JOIN events AS other ON other.account = now.account AND other.line <= now.line
  WHERE other.ts <= now.ts - minutes(10);

-- Of the events of the greatest (last) or least (first) time the greatest value; amounts are below 2^30 cents, ages below 2^32 ms.
CREATE MACRO newest_first(age, minor) AS minor - (age << 30);
CREATE MACRO oldest_first(age, minor) AS minor + (age << 30);

CREATE MACRO top_share(frequencies, n) AS ratio(list_max(map_values(frequencies)), n);

CREATE MACRO z_score(value, n, total, squares) AS
  CASE
    WHEN value IS NULL OR n = 0 OR n * squares = total * total THEN 0
    ELSE (value - total / n) / (sqrt((n * squares - total * total)::DOUBLE) / n)
  END;

CREATE TABLE of_card AS
  SELECT
    line,
    count(DISTINCT mcc) FILTER (age < hours(1)) AS "card.distinct.mcc.1h",
    count(DISTINCT mcc) FILTER (age < days(7)) AS "card.distinct.mcc.7d",
    count(DISTINCT device) FILTER (age < hours(1)) AS "card.distinct.device_id.1h",
    count(DISTINCT device) FILTER (age < days(7)) AS "card.distinct.device_id.7d",
    top_share(histogram(mcc) FILTER (age < hours(1)), count(*) FILTER (age < hours(1))) AS "card.top-share.mcc.1h",
    top_share(histogram(mcc) FILTER (age < days(7)), count(*) FILTER (age < days(7))) AS "card.top-share.mcc.7d",
    count(*) FILTER (age < hours(1) AND NOT is_current AND mcc = mcc_now) AS "card.same-count.mcc.1h",
    count(*) FILTER (age < days(7) AND NOT is_current AND mcc = mcc_now) AS "card.same-count.mcc.7d",
    count(*) FILTER (age < hours(1) AND NOT is_current AND minor = minor_now) AS "card.same-count.amount.1h",
    count(*) FILTER (age < days(7) AND NOT is_current AND minor = minor_now) AS "card.same-count.amount.7d",
    amount(max_by(minor, oldest_first(age, minor)) FILTER (age < hours(1) AND NOT is_current)) AS "card.first.amount.1h",
    amount(max_by(minor, oldest_first(age, minor)) FILTER (age < days(7) AND NOT is_current)) AS "card.first.amount.7d",
    amount(max_by(minor, newest_first(age, minor)) FILTER (age < hours(1) AND NOT is_current)) AS "card.last.amount.1h",
    amount(max_by(minor, newest_first(age, minor)) FILTER (age < days(7) AND NOT is_current)) AS "card.last.amount.7d",
    seconds(max(age) FILTER (age < hours(1) AND NOT is_current), 0) AS "card.time-since-first.1h",
    seconds(max(age) FILTER (age < days(7) AND NOT is_current), 0) AS "card.time-since-first.7d",
    z_score(
      any_value(minor_now),
      count(*) FILTER (age < hours(1) AND NOT is_current),
      sum(minor) FILTER (age < hours(1) AND NOT is_current),
      sum(minor * minor) FILTER (age < hours(1) AND NOT is_current)
    ) AS "card.z-score.amount.1h",
    z_score(
      any_value(minor_now),
      count(*) FILTER (age < days(7) AND NOT is_current),
      sum(minor) FILTER (age < days(7) AND NOT is_current),
      sum(minor * minor) FILTER (age < days(7) AND NOT is_current)
    ) AS "card.z-score.amount.7d",
    z_score(
      any_value(tip_now),
      count(tip) FILTER (age < hours(1) AND NOT is_current),
      sum(tip) FILTER (age < hours(1) AND NOT is_current),
      sum(tip * tip) FILTER (age < hours(1) AND NOT is_current)
    ) AS "card.z-score.tip.1h",
    z_score(
      any_value(tip_now),
      count(tip) FILTER (age < days(7) AND NOT is_current),
      sum(tip) FILTER (age < days(7) AND NOT is_current),
      sum(tip * tip) FILTER (age < days(7) AND NOT is_current)
    ) AS "card.z-score.tip.7d",
    count(DISTINCT minor) FILTER (age < days(7) AND approved) AS "card.distinct.amount.approved.7d",
    amount(max_by(tip, newest_first(age, tip)) FILTER (age < days(7) AND approved AND NOT is_current AND tip IS NOT NULL))
      AS "card.last.tip.approved.7d",
    mean(sum(tip) FILTER (age < days(7) AND approved), 100 * count(tip) FILTER (age < days(7) AND approved))
      AS "card.mean.tip.approved.7d",
    amount(min(tip) FILTER (age < days(7) AND approved)) AS "card.min.tip.approved.7d",
    stddev_amount(
      count(tip) FILTER (age < days(7) AND approved),
      sum(tip) FILTER (age < days(7) AND approved),
      sum(tip * tip) FILTER (age < days(7) AND approved)
    ) AS "card.stddev.tip.approved.7d",
    ratio(count(*) FILTER (age < hours(24) AND small), count(*) FILTER (age < hours(24) AND declined))
      AS "card.ratio.small.declined.24h",
    ratio(coalesce(sum(minor) FILTER (age < hours(24) AND declined), 0), sum(minor) FILTER (age < hours(24)))
      AS "card.sum-ratio.amount.declined.24h",
    count(*) FILTER (age < hours(24)) * 7 / count(*) FILTER (age < days(7)) AS "card.burst.7d.24h",
    count(*) AS "card.count.all",
    amount(sum(minor)) AS "card.sum.amount.all",
    mean(sum(tip), 100 * count(tip)) AS "card.mean.tip.all",
    amount(min(minor)) AS "card.min.amount.all",
    amount(max(minor)) AS "card.max.amount.all",
    stddev_amount(count(*), sum(minor), sum(minor * minor)) AS "card.stddev.amount.all",
    count(DISTINCT mcc) AS "card.distinct.mcc.all",
    amount(max_by(minor, oldest_first(age, minor)) FILTER (NOT is_current)) AS "card.first.amount.all",
    amount(max_by(minor, newest_first(age, minor)) FILTER (NOT is_current)) AS "card.last.amount.all",
    seconds(max(age) FILTER (NOT is_current), 0) AS "card.time-since-first.all",
    seconds(min(age) FILTER (NOT is_current), 0) AS "card.time-since-last.all",
    ratio(count(*) FILTER (declined), count(*)) AS "card.ratio.declined.all",
    is_new(any_value(mcc_now), bool_or(mcc = mcc_now) FILTER (NOT is_current AND approved)) AS "card.is-new.mcc.approved.all",
    is_new(any_value(device_now), bool_or(device = device_now) FILTER (NOT is_current AND approved))
      AS "card.is-new.device_id.approved.all",
    count(*) FILTER (minor = minor_now AND NOT is_current AND approved) AS "card.same-count.amount.approved.all",
    top_share(histogram(mcc) FILTER (approved), count(*) FILTER (approved)) AS "card.top-share.mcc.approved.all"
  FROM card_pairs
  GROUP BY line;

-- Streaks: what is newer than the newest event that breaks it.
CREATE TABLE of_streaks AS
  WITH
    card_breaks AS (SELECT line, min(age) AS broken FROM card_pairs WHERE age < hours(24) AND NOT approved GROUP BY line),
    card_streaks AS (
      SELECT line, count(*) AS events
      FROM card_pairs LEFT JOIN card_breaks USING (line)
      WHERE age < hours(24) AND age < coalesce(broken, hours(24))
      GROUP BY line
    ),
    account_breaks AS (SELECT line, min(age) AS broken FROM account_pairs WHERE age < hours(24) AND NOT declined GROUP BY line),
    account_streaks AS (
      SELECT line, count(*) AS events
      FROM account_pairs LEFT JOIN account_breaks USING (line)
      WHERE age < hours(24) AND age < coalesce(broken, hours(24))
      GROUP BY line
    )
  SELECT
    line,
    coalesce(card_streaks.events, 0) AS "card.streak.approved.24h",
    coalesce(account_streaks.events, 0) AS "account.streak.declined.24h.delay-10m"
  FROM (SELECT line FROM events) LEFT JOIN card_streaks USING (line) LEFT JOIN account_streaks USING (line);

-- How unusual the time of day is: 1 - exp(kappa * (cos(t - m) - 1)) of the von Mises distribution of the window before, by the minute, with
-- cosines and sines in units of 2^-26, and kappa by Best and Fisher.
CREATE MACRO angle(ts) AS (ts // 60000) % 1440 * 2 * pi() / 1440;
CREATE MACRO cosine(ts) AS round(cos(angle(ts)) * (1 << 26))::BIGINT;
CREATE MACRO sine(ts) AS round(sin(angle(ts)) * (1 << 26))::BIGINT;
CREATE MACRO concentration(r) AS
  CASE
    WHEN r < 0.53 THEN 2 * r + r * r * r + 5 * pow(r, 5) / 6
    WHEN r < 0.85 THEN -0.4 + 1.39 * r + 0.43 / (1 - r)
    ELSE 1 / (r * r * r - 4 * r * r + 3 * r)
  END;
CREATE MACRO hour_deviation(ts, n, x, y) AS
  CASE
    WHEN n < 2 OR x = 0 AND y = 0 THEN 0
    ELSE 1 - exp(
      concentration(least(0.999, sqrt(x * x + y * y) / (1 << 26) / n))
      * (least(1, (cosine(ts) * x + sine(ts) * y) / (1 << 26) / sqrt(x * x + y * y)) - 1)
    )
  END;

CREATE TABLE of_behaviour AS
  WITH sums AS (
    SELECT
      line, any_value(ts_now) AS ts, any_value(latitude_now) AS latitude, any_value(longitude_now) AS longitude,
      count(*) FILTER (age < hours(1) AND NOT is_current) AS n_1h,
      sum(cosine(ts)) FILTER (age < hours(1) AND NOT is_current) AS x_1h,
      sum(sine(ts)) FILTER (age < hours(1) AND NOT is_current) AS y_1h,
      count(*) FILTER (age < days(7) AND NOT is_current) AS n_7d,
      sum(cosine(ts)) FILTER (age < days(7) AND NOT is_current) AS x_7d,
      sum(sine(ts)) FILTER (age < days(7) AND NOT is_current) AS y_7d,
      max_by({ 'age': age, 'latitude': latitude, 'longitude': longitude }, place(latitude, longitude) - age::HUGEINT * 1e15::HUGEINT)
        FILTER (age < days(7) AND NOT is_current AND latitude IS NOT NULL) AS before
    FROM card_pairs
    GROUP BY line
  )
  SELECT
    line,
    hour_deviation(ts, n_1h, x_1h::DOUBLE, y_1h::DOUBLE) AS "card.hour-deviation.1h",
    hour_deviation(ts, n_7d, x_7d::DOUBLE, y_7d::DOUBLE) AS "card.hour-deviation.7d",
    speed(CASE WHEN before.age < hours(1) THEN before END, latitude, longitude) AS "card.speed.latitude.longitude.1h",
    speed(before, latitude, longitude) AS "card.speed.latitude.longitude.7d"
  FROM sums;

CREATE TABLE of_account AS
  WITH windows AS (SELECT * FROM account_pairs WHERE age < hours(24))
  SELECT
    line,
    count(DISTINCT mcc) AS "account.distinct.mcc.24h.delay-10m",
    top_share(histogram(device) FILTER (device IS NOT NULL), count(device)) AS "account.top-share.device_id.24h.delay-10m",
    amount(max_by(minor, newest_first(age, minor))) AS "account.last.amount.24h.delay-10m"
  FROM (SELECT line FROM events) LEFT JOIN windows USING (line)
  GROUP BY line;

CREATE TABLE of_device AS
  WITH pairs AS (
    SELECT now.line, now.ts - other.ts AS age, other.declined
    FROM events AS now JOIN events AS other ON other.device = now.device AND other.line <= now.line
    WHERE other.ts <= now.ts
  )
  SELECT
    line,
    count(*) FILTER (age < hours(24)) AS "device.count.24h",
    ratio(count(*) FILTER (age < hours(24)) * 14, count(*) FILTER (age < days(14))) AS "device.burst.14d.24h",
    ratio(count(*) FILTER (age < hours(24) AND declined), count(*) FILTER (age < hours(24))) AS "device.ratio.declined.24h"
  FROM (SELECT line FROM events) LEFT JOIN pairs USING (line)
  GROUP BY line;

CREATE TABLE wanted AS
  SELECT
    events.transaction_id,
    of_card.* EXCLUDE (line), of_streaks.* EXCLUDE (line), of_behaviour.* EXCLUDE (line), of_account.* EXCLUDE (line),
    of_device.* EXCLUDE (line),
    "device.ratio.declined.24h" * 100 + "card.count.all" AS "device.declined_share"
  FROM events JOIN of_card USING (line) JOIN of_streaks USING (line) JOIN of_behaviour USING (line) JOIN of_account USING (line)
    JOIN of_device USING (line);
