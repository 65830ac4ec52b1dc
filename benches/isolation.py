"""Measures what trouble in one domain does to the other four: its tables locked, its upstream hanging, its broker
gone, each with many callers who wait. The p99 of the others stands beside theirs in quiet, in the same run. How much
two quiet phases differ is measured in the same way: a ratio no larger than theirs says nothing.

One process serves all five domains. The others are called at an even pace that leaves the machine idle most of
the time, so that what is measured is waiting, not a share of the cores. Called by parts/isolation.sh.
"""

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from statistics import median

from processes import TOKEN, Server, StandIns, wrk_result
from report import row

WORK, DATABASE, BROKER_PORT = sys.argv[1], sys.argv[2], int(sys.argv[3])
QUICK = bool(os.environ.get("QUICK"))
ROUNDS, SECONDS = (3, 4) if QUICK else (7, 6)
QUIET, TROUBLE, QUIET_TOO = PHASES = ("quiet", "trouble", "quiet too")
PORT = int(os.environ["BENCH_PORT"]) + 30
STAND_INS, KAFKA = f"127.0.0.1:{PORT}", f"127.0.0.1:{PORT + 1}"
GOAL = 1.10
# Who is called by neighbours: connections, and the pause between two calls of each.
CALM = (4, 8)
# Those who call the domain in trouble; they wait most of the time, and come back after a pause.
TROUBLED = (100, 500)

CUSTOMERS, ORDERS, COMMUNICATIONS = "fleet-customers", "fleet-orders-manager", "fleet-communications"
DEPTRANS, SCOOTERS = "deptrans-driver-status-integration", "scooter-accumulator"
KEYS = [{"park_id": "park-1", "personal_phone_id": f"{n:032x}"} for n in range(100)]
DRIVERS = [{"park_id": "park-1", "driver_id": f"5a28ac97a70cdb35{n:016x}"} for n in range(20)]
ROUTE = [{"lat": 55.75, "lon": 37.61}, {"lat": 55.8, "lon": 37.5}]
# What each domain is asked: pooled connections, lanes and upstreams.
CALLS = {
    CUSTOMERS: [
        f"GET /{CUSTOMERS}/dispatcher/v1/customers?limit=20",
        *(f"POST /{CUSTOMERS}/internal/v1/customers/retrieve " + json.dumps({"customers": [key]}) for key in KEYS[:3]),
    ],
    ORDERS: [f"POST /{ORDERS}/dispatcher/v1/orders/estimate " + json.dumps({"route": ROUTE, "classes": ["econom"]})],
    COMMUNICATIONS: [f"GET /{COMMUNICATIONS}/dispatcher/v1/mailing-templates"],
    DEPTRANS: [f"POST /{DEPTRANS}/internal/v1/drivers/check " + json.dumps({"drivers": DRIVERS})],
    SCOOTERS: [f"GET /{SCOOTERS}/internal/v1/cabinets?near=55.7,37.6&radius_m=5000", f"GET /{SCOOTERS}/internal/v1/cabinets/c-1"],
}


def say(text):
    print(f"==> {text}", file=sys.stderr, flush=True)


class Wrk:
    """Calls a domain for some seconds."""

    def __init__(self, server, requests, pace, seconds):
        connections, pause = pace
        self.file = tempfile.NamedTemporaryFile("w", suffix=".requests", encoding="utf-8")
        self.file.write("\n".join(requests) + "\n")
        self.file.flush()
        self.process = subprocess.Popen(
            ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "60s", "-s", "benches/paced.lua"]
            + [f"http://{server.address}", "--", self.file.name, TOKEN, str(pause)],
            stdout=subprocess.PIPE, text=True,
        )

    def result(self):
        out, _ = self.process.communicate()
        self.file.close()
        return wrk_result(out)


class Locked:
    """A session that holds tables locked."""

    def __init__(self, domain, *tables):
        self.domain, self.title, self.tables = domain, f"tables of {domain} locked", tables
        self.callers = CALLS[domain]

    def begin(self):
        self.session = subprocess.Popen(
            [os.environ["PGBENCH"].replace("pgbench", "psql"), "-qAt", DATABASE], text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.session.stdin.write(f"BEGIN;\nLOCK TABLE {', '.join(self.tables)};\nSELECT 'locked';\n")
        self.session.stdin.flush()
        if self.session.stdout.readline().strip() != "locked":
            raise SystemExit(f"error: cannot lock {self.tables}")

    def end(self):
        self.session.communicate("ROLLBACK;\n")


class Hanging:
    """A stand-in that takes requests and never answers."""

    def __init__(self, domain, stand_in, callers):
        self.domain, self.title, self.stand_in = domain, f"{stand_in} hangs for {domain}", stand_in
        self.callers = callers

    def begin(self):
        stand_in_call("PUT", f"/__sandbox/faults/{self.stand_in}", {"kind": "hang"})

    def end(self):
        stand_in_call("DELETE", f"/__sandbox/faults/{self.stand_in}")


class Gone:
    """A broker whose process stands still: connections stay, and nothing comes."""

    def __init__(self, domain, title, process, callers):
        self.domain, self.title, self.process, self.callers = domain, title, process, callers

    def begin(self):
        self.process.send_signal(signal.SIGSTOP)

    def end(self):
        self.process.send_signal(signal.SIGCONT)


def stand_in_call(method, path, body=None, address=STAND_INS):
    connection = http.client.HTTPConnection(address, timeout=10)
    connection.request(method, path, json.dumps(body) if body else None, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    text = answer.read()
    connection.close()
    if answer.status >= 300:
        raise SystemExit(f"error: {method} {path}: {answer.status} {text[:300]}")
    return text


def until(what, holds):
    deadline = time.monotonic() + 60
    while not holds():
        if time.monotonic() > deadline:
            raise SystemExit(f"error: did not come true: {what}")
        time.sleep(0.05)


def listens(address):
    host, port = address.split(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) == 0


def mosquitto():
    config = f"{WORK}/mosquitto.conf"
    with open(config, "w", encoding="utf-8") as file:
        file.write(f"listener {BROKER_PORT} 127.0.0.1\nallow_anonymous true\nset_tcp_nodelay true\nlog_type error\n")
    process = subprocess.Popen([shutil.which("mosquitto") or "/usr/sbin/mosquitto", "-c", config], stderr=subprocess.DEVNULL)
    until("the broker listens", lambda: listens(f"127.0.0.1:{BROKER_PORT}"))
    return process


def configuration(stand_ins, brokers):
    text = stand_ins.everything()
    return text + f"[mqtt]\nurl = 'mqtt://127.0.0.1:{BROKER_PORT}'\n[kafka]\nbrokers = '{brokers}'\n"


def prepare(server):
    for key in KEYS:
        server.call("POST", f"/{CUSTOMERS}/internal/v1/customers/upsert", {**key, "ordered_at": "2026-11-20T10:00:00Z"})
    for number in range(20):
        body = {"id": f"c-{number}", "lat": 55.7, "lon": 37.6, "cell_count": 20}
        server.call("POST", f"/{SCOOTERS}/internal/v1/cabinets", body)


def measure(server, trouble, troubled):
    """The neighbours' latencies, with the trouble or without. The domain in trouble is called in both: what its
    calls cost the machine when all is well is no trouble of its neighbours."""
    if troubled:
        trouble.begin()
    callers = Wrk(server, trouble.callers, TROUBLED, SECONDS + 2) if trouble.callers else None
    time.sleep(1.5)
    try:
        neighbours = {name: Wrk(server, calls, CALM, SECONDS) for name, calls in CALLS.items() if name != trouble.domain}
        results = {name: wrk.result() for name, wrk in neighbours.items()}
    finally:
        if troubled:
            trouble.end()
        if callers:
            callers.result()
    for name, result in results.items():
        if not result["requests"] or (result["failed"] and not troubled):
            raise SystemExit(f"error: {result['failed']} of {result['requests']} requests to {name} failed in quiet")
    return results


def settle(server, calls):
    """What was in trouble is well again: every domain answers, and no breaker is open. A breaker closes when
    somebody calls."""
    def is_well():
        Wrk(server, calls, (1, 50), 1).result()
        rows = json.loads(server.call("GET", "/readyz")[1])
        return all(one["status"] == "ok" for one in rows["domains"] + rows["dependencies"])
    until("everything is well again", is_well)


def ratios(rounds, phase):
    """Of each neighbour: the middle one of its rounds' p99, each beside that in quiet in the same round."""
    return {name: median(one[phase][name]["p99_ms"] / one[QUIET][name]["p99_ms"] for one in rounds) for name in rounds[0][QUIET]}


def told(trouble, rounds):
    by_neighbour, of_quiet = ratios(rounds, TROUBLE), ratios(rounds, QUIET_TOO)
    name = max(by_neighbour, key=by_neighbour.get)
    ratio, spread = by_neighbour[name], max(of_quiet.values())
    middle = lambda phase, field: median(one[phase][name][field] for one in rounds)
    failed = sum(result["failed"] for one in rounds for result in one[TROUBLE].values())
    row(f"isolation: {trouble.title}", server=f"p99 of {name} (the worst of four): {middle(TROUBLE, 'p99_ms'):.2f} ms; {failed} refused",
        limit=f"in quiet: {middle(QUIET, 'p99_ms'):.2f} ms; quiet beside quiet, the worst of four: {spread:.2f}",
        ratio=f"{ratio:.2f}", goal=f"< {GOAL:.2f}, none refused", met=ratio < GOAL and failed == 0,
        latency=f"{middle(TROUBLE, 'p50_ms'):.2f} / {middle(TROUBLE, 'p99_ms'):.2f}")


def main():
    os.makedirs(f"{WORK}/kafka", exist_ok=True)
    outside = StandIns(WORK, f"{WORK}/fleet", STAND_INS, "--kafka", "none", "--drivers", "1000")
    kafka = StandIns(f"{WORK}/kafka", f"{WORK}/fleet", KAFKA, "--kafka", "embedded", "--drivers", "1")
    processes = [outside.process, kafka.process, mosquitto()]
    brokers = json.loads(stand_in_call("GET", "/__sandbox/kafka/brokers", address=KAFKA))["brokers"]
    os.environ["FLEET__HTTP__LISTEN"] = f"127.0.0.1:{PORT + 2}"
    os.environ["FLEET__KAFKA__BROKERS"] = brokers
    find = [f"POST /{CUSTOMERS}/dispatcher/v1/customers/find-by-phone " + json.dumps({"phone": "+79990000001"})]
    command = [f"POST /{SCOOTERS}/internal/v1/cabinets/c-1/commands " + json.dumps({"type": "unlock_cells", "cells": [1]})]
    troubles = [
        Locked(SCOOTERS, "scooter_accumulator.cabinets", "scooter_accumulator.cells"),
        Locked(CUSTOMERS, "fleet_customers.customers"),
        Locked(DEPTRANS, "deptrans.profiles", "deptrans.session_statuses"),
        Locked(COMMUNICATIONS, "fleet_communications.mailing_templates"),
        Hanging(ORDERS, "int-api", CALLS[ORDERS]),
        Hanging(CUSTOMERS, "personal", find),
        Gone(SCOOTERS, "the MQTT broker stands still", processes[2], command),
        Gone(DEPTRANS, "Kafka stands still", processes[1], []),
    ]
    server, everything = None, {}
    try:
        server = Server(WORK, configuration(outside, brokers))
        settle(server, CALLS[ORDERS])
        prepare(server)
        for trouble in troubles:
            say(f"isolation: {trouble.title}")
            measure(server, trouble, False)
            rounds = []
            for turn in range(ROUNDS):
                rounds.append({})
                for name in PHASES[turn % 3 :] + PHASES[: turn % 3]:
                    rounds[-1][name] = measure(server, trouble, name == TROUBLE)
                    settle(server, trouble.callers or CALLS[trouble.domain])
            everything[trouble.title] = rounds
            told(trouble, rounds)
    finally:
        if server:
            server.stop()
        for process in processes:
            process.send_signal(signal.SIGCONT)
            process.terminate()
            process.wait(10)
    with open(f"{WORK}/isolation.json", "w", encoding="utf-8") as file:
        json.dump(everything, file, indent=1)


main()
