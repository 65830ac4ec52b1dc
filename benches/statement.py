"""The server's own statements as pgbench scripts: taken from PostgreSQL while the server runs them, so
that both sides run the same."""

import re

# What PostgreSQL shows of a lane's last statement (the local cluster keeps 16 kB of it).
SHOWN = """SELECT query FROM pg_stat_activity
 WHERE datname = current_database() AND application_name = 'fleet lane' AND query LIKE '%s%%'
 AND octet_length(query) < pg_size_bytes(current_setting('track_activity_query_size')) - 1 LIMIT 1"""
BEGINNINGS = {"lookup": "SELECT k.ordinal", "upsert": "INSERT INTO fleet_customers.customers"}

# A random customer, as load.sql made it.
CUSTOMER = """\\set i random(1, {rows})
\\set high :i * :i % 2147483647 * :i % 2147483647 * 4294967296
\\set park 300 * (:i * 7919 % 10007) * (:i * 7919 % 10007) / (10007 * 10007)
\\set park_high :park * 30000000000000000
"""
# What stands for a parameter: a random customer's key, or a value given with -D.
KEY = ["ARRAY[bench.id(:park_high, :park)]", "ARRAY[bench.id(:high, :i)]"]
VALUES = {
    "lookup": KEY,
    "upsert": KEY + [":names::bytea[]", ":sms::boolean[]", ":options::jsonb[]", ":at::timestamptz[]"],
}


def script(sql, name, rows, pipeline=1):
    """A pgbench script of `pipeline` statements, each for a random customer. The server must have run
    the statement before. `sql` runs a query and returns its rows."""
    text = " ".join(line for row in sql(SHOWN % BEGINNINGS[name]) for line in row)
    if text.count("$") < len(VALUES[name]):
        raise SystemExit(f"error: PostgreSQL does not show the server's whole {name} statement; is its"
                         " track_activity_query_size 16384 (tools/local/postgres.sh sets it in new clusters)?")
    filled = re.sub(r"\$(\d)", lambda number: VALUES[name][int(number[1]) - 1], text)
    one = CUSTOMER.format(rows=rows) + filled + ";\n"
    return one if pipeline == 1 else "\\startpipeline\n" + one * pipeline + "\\endpipeline\n"
