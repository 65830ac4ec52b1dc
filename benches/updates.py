"""Measures P4 of docs/performance.md: the update feeds of deptrans-driver-status-integration on a million
bindings, and checks of drivers beside pgbench. Called by parts/updates.sh.

The drivers, their licences and ids are those of the stand-ins, so that each item has its profiles.
"""

import http.client
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import threading
import time
from statistics import median

from processes import TOKEN, Server, StandIns, family_cpu_ms, wrk
from report import row

WORK, SANDBOX, POSTMASTER = sys.argv[1], sys.argv[2], int(sys.argv[3])
QUICK = bool(os.environ.get("QUICK"))
ROUNDS, SECONDS = (3, 4) if QUICK else (5, 8)
ROWS = int(os.environ.get("BENCH_BINDINGS") or (200_000 if QUICK else 1_000_000))
PGBENCH = os.environ["PGBENCH"]
PORT = int(os.environ.get("BENCH_PORT", "18080")) + 20
STAND_INS = f"127.0.0.1:{PORT}"
DOMAIN = "deptrans-driver-status-integration"
BASE = f"/{DOMAIN}/internal/v1"
DATABASE = "fleet_bench_deptrans"
LICENSES = 0x11CE_05E5_0000_0000
POLLERS = 62
CHECKED = 100
# Licences as src/sandbox/world.rs numbers them, packed; half of the drivers are at work.
LOAD = f"""
SET synchronous_commit = off;
TRUNCATE deptrans.profiles, deptrans.session_statuses, deptrans.status_queue;
INSERT INTO deptrans.profiles (seq, updated_at, driver_license_pd_id, deptrans_id)
  SELECT n + 1, now() - interval '30 days' + n * interval '1 second',
         '\\x01'::bytea || int8send({LICENSES}) || int8send(n), lpad(n::text, 12, '0')::bytea
  FROM generate_series(0, {ROWS - 1}) n;
INSERT INTO deptrans.session_statuses (seq, updated_at, ended_at, occurred_at, driver_license_pd_id, session_status)
  SELECT n / 2 + 1, now(), now() + interval '8 hours', now(),
         '\\x01'::bytea || int8send({LICENSES}) || int8send(n), 'active'
  FROM generate_series(0, {ROWS - 1}, 2) n;
UPDATE deptrans.feeds SET last_seq = CASE name WHEN 'bindings' THEN {ROWS} ELSE {(ROWS + 1) // 2} END;
VACUUM ANALYZE deptrans.profiles;
VACUUM ANALYZE deptrans.session_statuses;
"""


def say(text):
    print(f"==> {text}", file=sys.stderr, flush=True)


def run(command, **options):
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    if done.returncode:
        raise SystemExit(f"error: {command[0]}: {done.stderr[-1000:]}")
    return done.stdout


def psql(text, url=None):
    environment = {**os.environ, **({"DATABASE_URL": url} if url else {})}
    return run(["tools/local/postgres.sh", "psql", "-qAt", "-v", "ON_ERROR_STOP=1"], env=environment, input=text)


def called(server, requests, seconds=SECONDS, connections=64):
    with tempfile.NamedTemporaryFile("w", suffix=".requests", encoding="utf-8") as file:
        file.write("\n".join(requests) + "\n")
        file.flush()
        cpu = {"server_cpu": server.cpu_ms, "postgres_cpu": lambda: family_cpu_ms(POSTMASTER)}
        return wrk(server.address, "updates", [file.name, TOKEN], seconds, connections, cpu)


class Reader:
    """A consumer that reads a whole feed over one connection."""

    def __init__(self, server):
        self.connection = http.client.HTTPConnection(server.address, timeout=30)

    def get(self, path):
        self.connection.request("GET", path, headers={"Authorization": f"Bearer {TOKEN}"})
        answer = self.connection.getresponse()
        body = answer.read()
        if answer.status != 200:
            raise SystemExit(f"error: {answer.status} for {path}: {body[:300]}")
        return body

    def read_all(self, feed, limit):
        cursor, items, size = "", 0, 0
        while True:
            body = self.get(f"{BASE}/{feed}/updates?limit={limit}{cursor and '&cursor=' + cursor}")
            tail = re.search(rb'\],"cursor":"([^"]+)","has_more":(true|false),"lag_ms":\d+\}$', body)
            cursor, size = tail[1].decode(), size + len(body)
            items += body.count(b'"driver_license_pd_id"')
            if tail[2] == b"false":
                return cursor, items, size


class Memory:
    """The most memory of the server while something goes on."""

    def __init__(self, server):
        self.server, self.most, self.going = server, 0.0, True
        self.thread = threading.Thread(target=self.watch)

    def watch(self):
        while self.going:
            self.most = max(self.most, self.server.rss_mb())
            time.sleep(0.02)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.going = False
        self.thread.join()


def full_reads(server):
    """A million items, page by page: time, CPU and memory."""
    results = []
    for limit in (1_000, 10_000):
        for _ in range(ROUNDS):
            before, cpu, other = server.rss_mb(), server.cpu_ms(), family_cpu_ms(POSTMASTER)
            started = time.monotonic()
            with Memory(server) as memory:
                _, items, size = Reader(server).read_all("id", limit)
            took = time.monotonic() - started
            if items != ROWS:
                raise SystemExit(f"error: {items} of {ROWS} items were read")
            results.append({
                "limit": limit, "seconds": took, "mb": size / 1e6, "rss_before": before, "rss_most": memory.most,
                "cpu_ms": server.cpu_ms() - cpu, "postgres_ms": family_cpu_ms(POSTMASTER) - other,
            })
    return results


def pollers(server, cursor):
    """So many caches that ask once a second, as they do in real life."""
    path = f"{BASE}/id/updates?limit=1000&cursor={cursor}"
    readers = [Reader(server) for _ in range(POLLERS)]
    for reader in readers:
        reader.get(path)
    cpu, other, started = server.cpu_ms(), family_cpu_ms(POSTMASTER), time.monotonic()
    slowest = 0.0
    for second in range(SECONDS):
        for reader in readers:
            asked = time.monotonic()
            reader.get(path)
            slowest = max(slowest, time.monotonic() - asked)
        time.sleep(max(0.0, started + second + 1 - time.monotonic()))
    took = time.monotonic() - started
    return {
        "cpu_percent": (server.cpu_ms() - cpu) / took / 10,
        "postgres_percent": (family_cpu_ms(POSTMASTER) - other) / took / 10,
        "slowest_ms": slowest * 1000,
    }


def anybody(seed):
    """Numbers of licences, all over."""
    chosen = random.Random(seed)
    return [chosen.randrange(ROWS) for _ in range(CHECKED)]


def check_requests(server, sets):
    """Checks of drivers who are at the top of the feed's pages, spread over it."""
    reader = Reader(server)
    drivers, cursor = [], ""
    while True:
        page = json.loads(reader.get(f"{BASE}/id/updates?limit=10000{cursor and '&cursor=' + cursor}"))
        drivers += [item["profiles"][0] for item in page["items"][::37] if item["profiles"]]
        cursor = page["cursor"]
        if not page["has_more"]:
            break
    chosen = random.Random(7)
    return [f"POST {BASE}/drivers/check " + json.dumps({"drivers": chosen.sample(drivers, CHECKED)}) for _ in range(sets)]


def check_scripts(folder, url, sets):
    """The server's own statement, with as many licences, for pgbench."""
    shown = psql("SELECT query FROM pg_stat_activity WHERE datname = current_database() "
                 "AND application_name = 'fleet lane' AND query LIKE 'SELECT a.n, %' LIMIT 1", url).strip()
    if not shown:
        raise SystemExit("error: the server's statement was not seen")
    paths = []
    for number in range(sets):
        licenses = ",".join(f'"\\\\x01{LICENSES:016x}{n:016x}"' for n in anybody(number))
        nulls = ",".join(["NULL"] * CHECKED)
        text = shown.replace("$1", f"'{{{licenses}}}'::bytea[]")
        text = re.sub(r"\$[23]", f"'{{{nulls}}}'::bytea[]", text)
        path = f"{folder}/{number}.sql"
        with open(path, "w", encoding="utf-8") as file:
            file.write(text + ";\n")
        paths.append(path)
    return paths


def pgbench(paths, url, clients):
    before = family_cpu_ms(POSTMASTER)
    files = [argument for path in paths for argument in ("-f", path)]
    out = run([PGBENCH, "-n", "-M", "prepared", "-c", str(clients), "-j", "2", "-T", str(SECONDS), *files, url])
    count = int(re.search(r"actually processed: (\d+)", out)[1])
    return {
        "per_second": float(re.search(r"tps = ([\d.]+)", out)[1]),
        "postgres_cpu": (family_cpu_ms(POSTMASTER) - before) / count * 1000,
    }


def prepare():
    """A database of its own, with the bindings; it serves again as long as it has as many."""
    url = f"{os.environ['BASE_URL'].rsplit('/', 1)[0]}/{DATABASE}"
    os.environ["FLEET__DATABASE__URL"] = url
    os.environ["FLEET__DOMAINS"] = DOMAIN
    if not psql(f"SELECT 1 FROM pg_database WHERE datname = '{DATABASE}'"):
        psql(f"CREATE DATABASE {DATABASE}")
    run([f"{WORK}/fleet", "migrate"])
    if psql("SELECT count(*) FROM deptrans.profiles", url).strip() != str(ROWS):
        say(f"loading {ROWS} bindings")
        psql(LOAD, url)
    # Nobody's shift has ended.
    psql("UPDATE deptrans.session_statuses SET ended_at = now() + interval '8 hours'; VACUUM deptrans.session_statuses;", url)
    return url


def measure(server, url):
    cursor, _, _ = Reader(server).read_all("id", 10_000)
    poll = [f"GET {BASE}/id/updates?limit=1000&cursor={cursor}"]
    results = {"livez": [], "empty": [], "check": [], "pgbench": []}
    # The statement of a check is seen by it.
    requests = check_requests(server, 40)
    called(server, poll, 2), called(server, requests, 2)
    with tempfile.TemporaryDirectory() as folder:
        paths = check_scripts(folder, url, 40)
        for turn in range(ROUNDS):
            say(f"P4 update feeds: round {turn + 1} of {ROUNDS}")
            ways = {
                "livez": lambda: called(server, ["GET /livez"], SECONDS // 2),
                "empty": lambda: called(server, poll, SECONDS // 2),
                "check": lambda: called(server, requests),
                "pgbench": lambda: pgbench(paths, url, 8),
            }
            for name in list(ways)[:: -1 if turn % 2 else 1]:
                results[name].append(ways[name]())
    results["pollers"] = pollers(server, cursor)
    results["full"] = full_reads(server)
    return results


def table(results):
    middle = lambda name, field: median(one[field] for one in results[name])
    told = lambda name: {
        "cpu": f"{middle(name, 'server_cpu'):.1f} + {middle(name, 'postgres_cpu'):.1f}",
        "latency": f"{middle(name, 'p50_ms'):.2f} / {middle(name, 'p99_ms'):.2f}",
    }
    over = median(a["server_cpu"] - b["server_cpu"] for a, b in zip(results["empty"], results["livez"]))
    ratio = median(a["per_second"] / b["per_second"] for a, b in zip(results["check"], results["pgbench"]))
    polled = results["pollers"]
    row("P4 empty poll", server=f"{middle('empty', 'per_second'):,.0f}/s",
        limit=f"/livez: {middle('livez', 'per_second'):,.0f}/s, CPU {middle('livez', 'server_cpu'):.1f}",
        ratio=f"{over:+.1f} µs", goal="≤ +20 µs", met=over <= 20, **told("empty"))
    row(f"P4 {POLLERS} pollers a second",
        server=f"{polled['cpu_percent']:.2f} % of a core, PostgreSQL {polled['postgres_percent']:.2f} %",
        latency=f"slowest {polled['slowest_ms']:.1f}")
    for limit in (1_000, 10_000):
        reads = [one for one in results["full"] if one["limit"] == limit]
        mid = lambda field: median(one[field] for one in reads)
        row(f"P4 full read of {ROWS:,} by {limit:,}", server=f"{mid('seconds'):.2f} s, {mid('mb'):.0f} MB",
            goal="≤ 3 s for 1 M", met=mid("seconds") <= 3 * ROWS / 1e6,
            cpu=f"{mid('cpu_ms') / ROWS * 1000:.1f} + {mid('postgres_ms') / ROWS * 1000:.1f}",
            memory=f"{mid('rss_before'):.0f} MB before, {max(one['rss_most'] for one in reads):.0f} most")
    row(f"check of {CHECKED} drivers", server=f"{middle('check', 'per_second'):,.0f}/s",
        limit=f"pgbench -c 8, the statement alone: {middle('pgbench', 'per_second'):,.0f}/s", ratio=f"{ratio:.2f}", **told("check"))


def main():
    url = prepare()
    stand_ins = StandIns(WORK, SANDBOX, STAND_INS, "--drivers", str(ROWS), "--kafka", "none")
    os.environ["FLEET__HTTP__LISTEN"] = f"127.0.0.1:{PORT + 1}"
    config = stand_ins.everything() + '[kafka]\nbrokers = ""\n'
    try:
        server = Server(WORK, config)
        try:
            results = measure(server, url)
        finally:
            server.stop()
    finally:
        stand_ins.stop()
    with open(f"{WORK}/updates.json", "w", encoding="utf-8") as file:
        json.dump(results, file, indent=1)
    table(results)


main()
