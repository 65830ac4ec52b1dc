-- Customers as they come in real life: keys in no order, a few parks with many of them. :rows rows,
-- and :source, which tells what they come from.
SET synchronous_commit = off;
SET client_min_messages = warning;

CREATE SCHEMA IF NOT EXISTS bench;
-- An id of 32 hexadecimal digits as src/platform/database/packed_id.rs packs it. A plain expression, like
-- all here: the planner puts it in place of the call.
CREATE OR REPLACE FUNCTION bench.id(high bigint, low bigint) RETURNS bytea LANGUAGE sql IMMUTABLE
    RETURN '\x01'::bytea || int8send(high) || int8send(low);
-- The upper half of the i-th customer's phone id; the lower is i. statement.py computes the same, so that
-- pgbench does not make PostgreSQL do it.
CREATE OR REPLACE FUNCTION bench.high(i bigint) RETURNS bigint LANGUAGE sql IMMUTABLE
    RETURN i * i % 2147483647 * i % 2147483647 * 4294967296;
-- The i-th customer's park, out of 300; the largest has 6 % of the customers.
CREATE OR REPLACE FUNCTION bench.park(i bigint) RETURNS bigint LANGUAGE sql IMMUTABLE
    RETURN 300 * (i * 7919 % 10007) * (i * 7919 % 10007) / (10007 * 10007);
CREATE OR REPLACE FUNCTION bench.park_id(park bigint) RETURNS bytea LANGUAGE sql IMMUTABLE
    RETURN bench.id(park * 30000000000000000, park);
INSERT INTO fleet_customers.parks (park_id) SELECT bench.park_id(park) FROM generate_series(0, 299) park;

CREATE FUNCTION bench.customers(first bigint, last bigint, with_options real)
RETURNS SETOF fleet_customers.customers LANGUAGE sql
BEGIN ATOMIC
    SELECT at - interval '30 days', at, at - interval '30 days', at,
           (SELECT park_no FROM fleet_customers.parks WHERE park_id = bench.park_id(bench.park(i))),
           1 + (i % 20)::integer, 1, CASE WHEN random() < 0.5 THEN random() < 0.5 END,
           bench.id(bench.high(i), i), CASE WHEN random() < 0.6 THEN bench.id(i, bench.high(i)) END,
           CASE WHEN random() < with_options THEN
               '{"classes":["econom"],"payment_type":"cash"}'::jsonb END
    FROM (SELECT i, now() - random() * interval '90 days' AS at
          FROM generate_series(first, last) i) orders;
END;

INSERT INTO fleet_customers.customers
SELECT (c).* FROM (SELECT bench.customers(1, :rows, 0.2) AS c) loaded;
VACUUM ANALYZE fleet_customers.customers;

-- The table when every customer has options, from a sample; its indices do not change.
CREATE TABLE bench.with_options (LIKE fleet_customers.customers);
INSERT INTO bench.with_options SELECT * FROM bench.customers(1, 100000, 1);

CREATE TABLE bench.sizes AS
SELECT 'heap' AS name, pg_table_size('fleet_customers.customers') AS bytes
UNION ALL
SELECT indexrelid::regclass::text, pg_relation_size(indexrelid)
FROM pg_index WHERE indrelid = 'fleet_customers.customers'::regclass
UNION ALL
SELECT 'heap, all with options', pg_table_size('bench.with_options') * :rows / 100000;
CREATE TABLE bench.loaded AS SELECT :'source' AS source;
