"""P1 and P2 of docs/performance.md beside minimal services of other frameworks, which run the server's own statements
on the same table, in the same rounds. Called by parts/comparison.sh.
"""

import os
import re
import shutil
import subprocess
import sys
import time
from statistics import median

import statement
from customers import DATABASE, WORK, Bench, middle, rate, ratio_text, ratios, sql, told
from processes import Server, family_cpu_ms
from report import row

VENV, MODULES = sys.argv[4], sys.argv[5]
PORT = int(os.environ["BENCH_PORT"]) + 40
GOALS = {"FastAPI, asyncpg, 2 workers": {"retrieve": 12, "upsert": None}, "Fastify, pg, 2 workers": {"retrieve": 3.5, "upsert": None}}
FASTAPI, FASTIFY = GOALS
# Of the parameters, of which the lookup has the first two.
TYPES = ["bytea[]", "bytea[]", "bytea[]", "boolean[]", "jsonb[]", "timestamptz[]"]


class Service:
    """A service of another framework."""

    def __init__(self, command, address, environment):
        self.address = address
        with open(f"{WORK}/comparison.log", "a", encoding="utf-8") as log:
            self.process = subprocess.Popen(command, env={**os.environ, **environment}, stdout=log, stderr=log)

    def cpu_ms(self):
        return family_cpu_ms(self.process.pid)

    def stop(self):
        self.process.terminate()
        self.process.wait(10)


def statements(server):
    """The server's own, as PostgreSQL shows them once it has run them."""
    bench = Bench(server)
    texts = {}
    for name, what in (("lookup", "retrieve"), ("upsert", "upsert")):
        bench.wrk(what, 1)
        texts[name.upper()] = " ".join(line for found in sql(statement.SHOWN % statement.BEGINNINGS[name]) for line in found)
        if not texts[name.upper()]:
            raise SystemExit(f"error: the server's {name} statement was not seen")
        # The server tells the types beside the statement.
        texts[name.upper()] = re.sub(r"\$(\d)", lambda number: f"{number[0]}::{TYPES[int(number[1]) - 1]}", texts[name.upper()])
    return texts


def services(texts):
    """Those that are installed."""
    environment = {**texts, "DATABASE": DATABASE}
    found = {}
    if os.path.exists(f"{VENV}/installed.txt"):
        command = [f"{VENV}/bin/uvicorn", "app:app", "--app-dir", "benches/comparison/fastapi", "--workers", "2"]
        command += ["--port", str(PORT), "--no-access-log", "--log-level", "warning"]
        found[FASTAPI] = Service(command, f"127.0.0.1:{PORT}", environment)
    if os.path.exists(f"{MODULES}/installed.json") and shutil.which("node"):
        address = f"127.0.0.1:{PORT + 1}"
        found[FASTIFY] = Service(["node", f"{MODULES}/app.js"], address, {**environment, "LISTEN": address})
    return found


def await_answers(service):
    for _ in range(100):
        probe = subprocess.run(["curl", "-s", "-o", "/dev/null", f"http://{service.address}/"], check=False)
        if probe.returncode == 0:
            return
        time.sleep(0.1)
    raise SystemExit("error: a service does not answer (see .local/bench/comparison.log)")


def main():
    server = Server(WORK)
    others = {}
    try:
        others = services(statements(server))
        benches = {"server": Bench(server)}
        for name, service in others.items():
            await_answers(service)
            benches[name] = Bench(service)
        for what, figure in (("retrieve", "P1 lookup by id"), ("upsert", "P2 upsert")):
            for bench in benches.values():
                bench.wrk(what, 2)
            # `what` and `bench` are those of this turn.
            ways = {name: lambda bench=bench, what=what: bench.wrk(what) for name, bench in benches.items()}
            results = next(iter(benches.values())).rounds(f"{figure}, comparison", ways)
            for name, goals in GOALS.items():
                if name not in results:
                    row(f"{figure} beside {name}", limit="not run: cannot be installed here")
                    continue
                found, goal = ratios(results, "server", name), goals[what]
                row(f"{figure} beside {name}", server=rate(results["server"]),
                    limit=f"{rate(results[name])}, CPU {middle(results[name], 'server_cpu'):.0f}", ratio=ratio_text(found),
                    goal=f"≥ {goal}" if goal else "", met=median(found) >= goal if goal else None, **told(results["server"]))
    finally:
        server.stop()
        for service in others.values():
            service.stop()


main()
