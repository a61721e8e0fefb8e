-- What the files here share. All sums are of integers; what is not an integer is made of them by the same few operations on doubles as in
-- the documentation.
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

-- Kilometres by the haversine formula over hours, of which there is at least a second; of several places at the same time the one
-- furthest north, then east, counts.
CREATE MACRO radians_of(degrees) AS degrees * pi() / 180;
CREATE MACRO place(latitude, longitude) AS round((latitude + 90) * 100000)::BIGINT * 36000001 + round((longitude + 180) * 100000)::BIGINT;
CREATE MACRO kilometres(a_latitude, a_longitude, b_latitude, b_longitude) AS
  2 * 6371.0088 * asin(least(1, sqrt(
    pow(sin(radians_of(b_latitude - a_latitude) / 2), 2)
    + cos(radians_of(a_latitude)) * cos(radians_of(b_latitude)) * pow(sin(radians_of(b_longitude - a_longitude) / 2), 2)
  )));
CREATE MACRO speed(before, latitude, longitude) AS
  CASE
    WHEN before IS NULL OR latitude IS NULL THEN 0
    ELSE kilometres(before.latitude, before.longitude, latitude, longitude) / greatest(before.age / 3600000, 1 / 3600)
  END;
