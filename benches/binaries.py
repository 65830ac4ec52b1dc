"""The server built in other ways, side by side: CPU of a lookup and an upsert, memory, start, size. Called by
parts/binaries.sh.
"""

import json
import os
import time
from statistics import median

from customers import WORK, Bench, middle, rate
from processes import Server, folder
from report import row


def started(number, name, path):
    """A server of its own; `PRELOAD:PATH` loads a library before it, such as another allocator."""
    host, port = os.environ["FLEET__HTTP__LISTEN"].rsplit(":", 1)
    preload, _, program = path.rpartition(":")
    os.environ["FLEET__HTTP__LISTEN"] = f"{host}:{int(port) + 1}"
    if preload:
        os.environ["LD_PRELOAD"] = preload
    try:
        server = Server(folder(WORK, f"binary-{number}", program))
    finally:
        os.environ.pop("LD_PRELOAD", None)
    time.sleep(0.5)
    return {"name": name, "bench": Bench(server), "idle": server.rss_mb(), "ready": server.ready_ms,
            "size": os.path.getsize(program) / 1e6}


def main():
    given = [one.split("=", 1) for one in os.environ["BENCH_BINARIES"].split()]
    variants = []
    try:
        for number, (name, path) in enumerate(given):
            variants.append(started(number, name, path))
        first = variants[0]["bench"]
        ways = {}
        for one in variants:
            one["bench"].wrk("retrieve", 2)
            for what in ("retrieve", "upsert"):
                ways[one["name"], what] = lambda bench=one["bench"], what=what: bench.wrk(what)
        results = first.rounds("binaries", ways)
        for one in variants:
            one["loaded"] = one["bench"].server.rss_mb()
    finally:
        for one in variants:
            one["bench"].server.stop()
    for one in variants:
        name = one["name"]
        lookup, upsert = results[name, "retrieve"], results[name, "upsert"]
        usual = results[variants[0]["name"], "retrieve"]
        ratio = median(own["server_cpu"] / other["server_cpu"] for own, other in zip(lookup, usual))
        row(f"binary: {name}", server=f"lookup {rate(lookup)}, upsert {rate(upsert)}", ratio=f"{ratio:.2f} of a lookup's CPU",
            limit=f"{one['size']:.1f} MB, ready in {one['ready']:.0f} ms",
            cpu=f"{middle(lookup, 'server_cpu'):.1f}; upsert {middle(upsert, 'server_cpu'):.1f}",
            memory=f"{one['idle']:.0f} MB, {one['loaded']:.0f} MB loaded")
    with open(f"{WORK}/binaries.json", "w", encoding="utf-8") as file:
        json.dump({f"{name} {what}": rounds for (name, what), rounds in results.items()}, file, indent=1)


main()
