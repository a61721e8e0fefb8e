-- The events of a simulated stream with labels, which sends some of them twice: the second one, of the same id, does not count. Everything
-- else that came is a row; transactions know the line of the first label of each kind that names them.
CREATE TABLE log AS
  SELECT * FROM read_json(
    getvariable('log'),
    format = 'newline_delimited',
    columns = {
      'id': 'VARCHAR', 'ts': 'BIGINT', 'type': 'VARCHAR', 'refers_to': 'VARCHAR', 'card': 'STRUCT(id VARCHAR)',
      'account': 'STRUCT(id VARCHAR)', 'terminal': 'STRUCT(id VARCHAR)', 'device': 'STRUCT(id VARCHAR, ip VARCHAR)', 'email': 'VARCHAR',
      'location': 'STRUCT(latitude DOUBLE, longitude DOUBLE)', 'amount': 'DECIMAL(18, 2)', 'outcome': 'VARCHAR'
    }
  );

CREATE TABLE raw AS
  SELECT rowid AS line, * FROM log WHERE rowid IN (SELECT min(rowid) FROM log GROUP BY id);

CREATE TABLE labels AS
  SELECT
    refers_to AS id,
    min(line) FILTER (type = 'fraud_report') AS fraud_report_line,
    min(line) FILTER (type = 'chargeback') AS chargeback_line
  FROM raw
  WHERE refers_to IS NOT NULL
  GROUP BY refers_to;

CREATE TABLE events AS
  SELECT
    line, raw.id AS transaction_id, ts,
    card.id AS card, account.id AS customer, lower(trim(raw.email)) AS email, device.ip AS ip,
    regexp_replace(device.ip, '\.\d+$', '') AS network, device.id AS device, terminal.id AS merchant,
    concat(card.id, '|', terminal.id) AS card_merchant,
    card.id AS card_id, account.id AS customer_id, lower(trim(raw.email)) AS email_address, device.id AS device_id,
    location.latitude, location.longitude, (amount * 100)::BIGINT AS minor,
    type = 'authorization' AS charge,
    charge AND outcome = 'approved' AS authorized, charge AND outcome = 'blocked' AS blocked,
    charge AND outcome = 'declined' AS declined, charge AND outcome != 'approved' AS failed,
    type = 'chargeback' AS dispute, type = 'fraud_report' AS fraud_warning, type = 'refund' AS refunded,
    fraud_report_line, chargeback_line
  FROM raw LEFT JOIN labels USING (id);
