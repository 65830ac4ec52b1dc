"""Two instances on one database beside one, with as many callers in all; called by parts/instances.sh.

All of it shares the machine's cores, so two cannot do more than one here: what is measured is what they cost each
other. Writes are counted.
"""

import json
import os
import threading
from statistics import median

from customers import CONNECTIONS, ROUNDS, WORK, Bench, middle, ratio_text, rate, ratios, sql
from processes import Server, folder
from report import row

COUNTED = "SELECT sum(orders_count) FROM fleet_customers.customers"


def together(benches, what):
    """Both at once, each with half of the callers."""
    results = [None] * len(benches)

    def call(number):
        results[number] = benches[number].wrk(what, connections=CONNECTIONS // len(benches))

    threads = [threading.Thread(target=call, args=(number,)) for number in range(len(benches))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if None in results:
        raise SystemExit(f"error: {what}: one of the instances did not answer")
    requests = sum(result["requests"] for result in results)
    share = lambda result: result["requests"] / requests
    return {
        "requests": requests,
        "per_second": sum(result["per_second"] for result in results),
        "server_cpu": sum(result["server_cpu"] * share(result) for result in results),
        # Each run saw all of PostgreSQL.
        "postgres_cpu": median(result["postgres_cpu"] * share(result) for result in results),
        "p50_ms": max(result["p50_ms"] for result in results),
        "p99_ms": max(result["p99_ms"] for result in results),
    }


def told(title, results):
    one, two = results["one"], results["two"]
    ratio = ratios(results, "two", "one")
    row(f"two instances: {title}", server=rate(two), limit=f"one instance: {rate(one)}", ratio=ratio_text(ratio),
        goal="≥ 0.8", met=median(ratio) >= 0.8,
        cpu=f"{middle(two, 'server_cpu'):.1f} + {middle(two, 'postgres_cpu'):.1f}",
        latency=f"{middle(two, 'p50_ms'):.2f} / {middle(two, 'p99_ms'):.2f}")


def main():
    host, port = os.environ["FLEET__HTTP__LISTEN"].rsplit(":", 1)
    servers = [Server(WORK)]
    try:
        os.environ["FLEET__HTTP__LISTEN"] = f"{host}:{int(port) + 40}"
        servers.append(Server(folder(WORK, "second")))
        benches = [Bench(server) for server in servers]
        # The first calls open lanes and prepare statements: half a second where another keeps all cores busy.
        for bench in benches:
            for what in ("retrieve", "upsert"):
                bench.wrk(what, seconds=1)
        everything = {}
        for what, title in (("retrieve", "lookup by id"), ("upsert", "upsert")):
            before = int(sql(COUNTED)[0][0])
            everything[what] = benches[0].rounds(f"two instances, {title}", {
                "one": lambda: benches[0].wrk(what),
                "two": lambda: together(benches, what),
            })
            if what == "upsert":
                acknowledged = sum(one["requests"] for way in everything[what].values() for one in way)
                rise = int(sql(COUNTED)[0][0]) - before
                # When wrk stops, answers to requests that took effect may be on their way still.
                if not acknowledged <= rise <= acknowledged + 2 * ROUNDS * CONNECTIONS:
                    raise SystemExit(f"error: {acknowledged} orders were acknowledged, {rise} counted")
            told(title, everything[what])
    finally:
        for server in servers:
            server.stop()
    with open(f"{WORK}/instances.json", "w", encoding="utf-8") as file:
        json.dump(everything, file, indent=1)


main()
