"""Measures P1, P2, P9 and P10 of docs/performance.md; called by parts/customers.sh."""

import glob
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from statistics import median

import statement
from processes import TOKEN, Server, StandIns, family_cpu_ms, wrk
from report import row

WORK, ROWS, POSTMASTER = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
QUICK = bool(os.environ.get("QUICK"))
ROUNDS, SECONDS = (3, 5) if QUICK else (5, 10)
DATABASE = os.environ["FLEET__DATABASE__URL"]
PGBENCH = os.environ["PGBENCH"]
CONNECTIONS = 64
# What the upserts of both sides bring along.
ORDERED_AT = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
OPTIONS = '{"classes":["econom"],"payment_type":"cash"}'
CONSTANTS = {
    "names": "{NULL}",
    "sms": "{t}",
    "options": '{"%s"}' % OPTIONS.replace('"', '\\"'),
    "at": "{%s}" % ORDERED_AT,
}


def say(text):
    print(f"==> {text}", file=sys.stderr, flush=True)


def run(command, **options):
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    if done.returncode:
        raise SystemExit(f"error: {command[0]}: {done.stderr[-1000:]}")
    return done.stdout


def sql(query):
    environment = {**os.environ, "DATABASE_URL": DATABASE}
    psql = ["tools/local/postgres.sh", "psql", "-At", "-F", "\t", "-c", query]
    return [line.split("\t") for line in run(psql, env=environment).splitlines()]


class Bench:
    def __init__(self, server):
        self.server = server
        self.turn = 0

    def wrk(self, what, seconds=SECONDS, connections=CONNECTIONS):
        """The whole server, asked for random customers."""
        self.turn += 1
        threads = min(2, connections)
        skip = self.turn * 0.381966 % 1
        cpu = {"server_cpu": self.server.cpu_ms, "postgres_cpu": lambda: family_cpu_ms(POSTMASTER)}
        arguments = [f"{WORK}/keys", TOKEN, what, threads, skip, ORDERED_AT]
        return wrk(self.server.address, "customers", arguments, seconds, connections, cpu)

    def pgbench(self, script, clients, seconds=SECONDS, statements=1):
        """The same statement without a server in between, prepared, over TCP as the server does."""
        constants = [f"-D{name}={value}" for name, value in CONSTANTS.items()]
        environment = {**os.environ, "PGOPTIONS": "-c plan_cache_mode=force_generic_plan"}
        before = family_cpu_ms(POSTMASTER)
        with tempfile.TemporaryDirectory() as folder:
            with open(f"{folder}/script", "w", encoding="utf-8") as file:
                file.write(script)
            log = ["--log", f"--log-prefix={folder}/log"] if clients == 1 else []
            out = run(
                [PGBENCH, "-n", "-M", "prepared", "-c", str(clients), "-j", str(min(2, clients))]
                + ["-T", str(seconds), "-f", f"{folder}/script", *constants, *log, DATABASE],
                env=environment,
            )
            latencies = []
            for path in glob.glob(f"{folder}/log*"):
                with open(path, encoding="utf-8") as file:
                    latencies += [int(line.split()[2]) for line in file]
        count = int(re.search(r"actually processed: (\d+)", out)[1]) * statements
        return {
            "requests": count,
            "per_second": float(re.search(r"tps = ([\d.]+)", out)[1]) * statements,
            "postgres_cpu": (family_cpu_ms(POSTMASTER) - before) / count * 1000,
            "p50_ms": median(latencies) / 1000 if latencies else None,
        }

    def rounds(self, title, ways):
        """Runs all ways in each round, every other time backwards; results by way."""
        results = {name: [] for name in ways}
        for turn in range(ROUNDS):
            say(f"{title}: round {turn + 1} of {ROUNDS}")
            for name in list(ways)[:: -1 if turn % 2 else 1]:
                results[name].append(ways[name]())
        return results


def check_answers(server):
    """Every key that wrk asks for exists; returns the length of a usual answer's body."""
    with open(f"{WORK}/keys", encoding="utf-8") as file:
        keys = [line.split() for line in file]
    lengths = []
    for park, phone in keys[:200]:
        key = {"park_id": park, "personal_phone_id": phone}
        status, text = server.call(
            "POST", "/fleet-customers/internal/v1/customers/retrieve", {"customers": [key]}
        )
        items = json.loads(text)["items"] if status == 200 else []
        if [item["personal_phone_id"] for item in items] != [phone]:
            raise SystemExit(f"error: {status} for a customer that exists: {text[:200]}")
        lengths.append(len(text))
    return median(lengths)


def lookup(bench):
    """P1."""
    length = check_answers(bench.server)
    plain = statement.script(sql, "lookup", ROWS)
    pipelined = statement.script(sql, "lookup", ROWS, pipeline=10)
    bench.wrk("retrieve", 3), bench.pgbench(plain, 8, 3)
    results = bench.rounds(
        "P1 lookup",
        {
            "server": lambda: bench.wrk("retrieve"),
            "pgbench -c 8": lambda: bench.pgbench(plain, 8),
            "pgbench -c 2, pipeline 10": lambda: bench.pgbench(pipelined, 2, SECONDS // 2, 10),
            "livez": lambda: bench.wrk("livez", SECONDS // 2),
        },
    )
    for result in results["server"]:
        if result["bytes"] / result["requests"] < length:
            raise SystemExit("error: answers are shorter than a customer: some were empty")
    return results


def upsert(bench):
    """P2."""
    bench.wrk("upsert", 1)
    script = statement.script(sql, "upsert", ROWS)
    counted = "SELECT sum(orders_count) FROM fleet_customers.customers"
    before = int(sql(counted)[0][0])
    results = bench.rounds(
        "P2 upsert",
        {
            "server": lambda: bench.wrk("upsert"),
            "pgbench -c 32": lambda: bench.pgbench(script, 32),
            "server, alone": lambda: bench.wrk("upsert", SECONDS // 2, 1),
            "pgbench -c 1": lambda: bench.pgbench(script, 1, SECONDS // 2),
        },
    )
    acknowledged = sum(result["requests"] for way in results.values() for result in way)
    rise = int(sql(counted)[0][0]) - before
    # When wrk stops, answers to requests that took effect may be on their way still.
    unread = ROUNDS * (CONNECTIONS + 1)
    if not acknowledged <= rise <= acknowledged + unread:
        raise SystemExit(f"error: {acknowledged} orders were acknowledged, {rise} counted")
    results["orders"] = {"acknowledged": acknowledged, "counted": rise}
    return results


def footprint():
    """P9, but for the memory after load: of all domains, each with what it needs."""
    ready = []
    host, port = os.environ["FLEET__HTTP__LISTEN"].rsplit(":", 1)
    stand_ins = StandIns(WORK, f"{WORK}/fleet", f"{host}:{int(port) + 30}", "--drivers", "100", "--kafka", "none")
    try:
        for _ in range(5 if QUICK else 15):
            server = Server(WORK, stand_ins.everything())
            time.sleep(2)
            idle, own = server.rss_mb(), server.rss_mb("RssAnon")
            ready.append(server.ready_ms)
            server.stop()
    finally:
        stand_ins.stop()
    size = os.path.getsize(f"{WORK}/fleet") / 1e6
    return {"ready_ms": ready, "idle_mb": idle, "idle_own_mb": own, "binary_mb": size}


def middle(results, field):
    return median(result[field] for result in results)


def ratios(results, way, limit, field="per_second"):
    return [own[field] / other[field] for own, other in zip(results[way], results[limit])]


def told(results):
    """CPU and latency of one of the server's ways."""
    return {
        "cpu": f"{middle(results, 'server_cpu'):.1f} + {middle(results, 'postgres_cpu'):.1f}",
        "latency": f"{middle(results, 'p50_ms'):.2f} / {middle(results, 'p99_ms'):.2f}",
    }


def rate(results):
    return f"{middle(results, 'per_second'):,.0f}/s"


def ratio_text(values):
    return f"{median(values):.2f} (least {min(values):.2f}, most {max(values):.2f})"


def table(reads, writes, feet, sizes):
    server, livez = reads["server"], reads["livez"]
    of_lookup = ratios(reads, "server", "pgbench -c 8")
    row("P1 lookup by id, 64 connections", server=rate(server), limit=f"pgbench -c 8: {rate(reads['pgbench -c 8'])}",
        ratio=ratio_text(of_lookup), goal="≥ 1.05", met=median(of_lookup) >= 1.05, **told(server))
    row("   beside pipelining", limit=f"pgbench -c 2, pipeline of 10: {rate(reads['pgbench -c 2, pipeline 10'])}",
        ratio=ratio_text(ratios(reads, "server", "pgbench -c 2, pipeline 10")))
    row("   the same middleware, no work (/livez)", server=rate(livez), **told(livez))
    over = median(a["server_cpu"] - b["server_cpu"] for a, b in zip(server, livez))
    row("   CPU of a lookup over that", server=f"{over:.1f} ms / 1 000", goal="≤ 15 ms", met=over <= 15)
    of_upsert = ratios(writes, "server", "pgbench -c 32")
    row("P2 upsert, 64 connections", server=rate(writes["server"]), limit=f"pgbench -c 32: {rate(writes['pgbench -c 32'])}",
        ratio=ratio_text(of_upsert), goal="≥ 1.6", met=median(of_upsert) >= 1.6, **told(writes["server"]))
    alone, limit = writes["server, alone"], writes["pgbench -c 1"]
    of_alone = ratios(writes, "server, alone", "pgbench -c 1", "p50_ms")
    row("   a lone caller's p50", server=f"{middle(alone, 'p50_ms'):.2f} ms", limit=f"pgbench -c 1: {middle(limit, 'p50_ms'):.2f} ms",
        ratio=ratio_text(of_alone), goal="≤ 1.3", met=median(of_alone) <= 1.3, **told(alone))
    ready = median(feet["ready_ms"])
    row("P9 start to ready", server=f"{ready:.0f} ms, most {max(feet['ready_ms']):.0f}", goal="≤ 300 ms", met=ready <= 300)
    row("   memory at rest, after load", goal="≤ 30 MB at rest", met=feet["idle_mb"] <= 30,
        memory=f"{feet['idle_mb']:.0f} MB ({feet['idle_own_mb']:.0f} without the program's pages), {feet['loaded_mb']:.0f} MB")
    row("   binary, stand-ins included", server=f"{feet['binary_mb']:.1f} MB")
    heap, options = sizes.pop("heap"), sizes.pop("heap, all with options")
    indices = sum(sizes.values())
    for name, size in {"heap": heap, **sizes}.items():
        row(f"P10 {name.removeprefix('fleet_customers.')}", server=f"{size / 1e6:,.0f} MB", ratio=f"{size / ROWS:.1f} B a row")
    for name, size in {"total": heap + indices, "total, all with options": options + indices}.items():
        share = size / (1e9 * ROWS / 5e6)
        judged = name == "total"
        row(f"P10 {name}, {ROWS:,} customers", server=f"{size / 1e6:,.0f} MB", ratio=f"{share:.3f} of the goal",
            goal="1 GB for 5 M" if judged else "", met=share < 1 if judged else None)


def main():
    say("P9 footprint")
    feet = footprint()
    server = Server(WORK)
    try:
        bench = Bench(server)
        reads = lookup(bench)
        writes = upsert(bench)
        feet["loaded_mb"] = server.rss_mb()
    finally:
        server.stop()
    sizes = {name: int(size) for name, size in sql("SELECT name, bytes FROM bench.sizes")}
    everything = {"customers": ROWS, "p1": reads, "p2": writes, "p9": feet, "p10": sizes}
    with open(f"{WORK}/customers.json", "w", encoding="utf-8") as file:
        json.dump(everything, file, indent=1)
    table(reads, writes, feet, dict(sizes))


if __name__ == "__main__":
    main()
