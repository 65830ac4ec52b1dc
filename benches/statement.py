"""The server's own statements as pgbench scripts: taken from PostgreSQL while the server runs them, so
that both sides run the same."""

import re

# What PostgreSQL shows of a lane's last statement (the local cluster keeps 16 kB of it).
SHOWN = """SELECT query FROM pg_stat_activity
 WHERE datname = current_database() AND application_name = 'fleet lane' AND query LIKE '%s%%'
 AND octet_length(query) < pg_size_bytes(current_setting('track_activity_query_size')) - 1 LIMIT 1"""
BEGINNINGS = {"lookup": "SELECT k.ordinal", "upsert": "INSERT INTO fleet_customers.customers"}

# What stands for a parameter: a random customer's key, or a value given with -D.
KEY = ["ARRAY[bench.park_id(:i)]", "ARRAY[bench.phone(:i)]"]
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
    one = f"\\set i random(1, {rows})\n{filled};\n"
    return one if pipeline == 1 else "\\startpipeline\n" + one * pipeline + "\\endpipeline\n"
