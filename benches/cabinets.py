"""Measures P6 of docs/performance.md, how many events of cabinets one process applies, and what a park costs
whose cabinets are asked once a minute.

A broker of its own (Mosquitto), the server with scooter-accumulator alone, and a cabinet in this
script that answers at once. The round trip of `execute` stands beside a bare question and answer through the
same broker with the same cabinet, and beside commits of the same database. Called by parts/cabinets.sh.
"""

import datetime
import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
import uuid
from statistics import median

from processes import TOKEN, Server, family_cpu_ms
from report import row

WORK, PGBENCH, DATABASE, BROKER_PORT, POSTMASTER = *sys.argv[1:4], int(sys.argv[4]), int(sys.argv[5])
PSQL = PGBENCH.replace("pgbench", "psql")
QUICK = bool(os.environ.get("QUICK"))
ROUND_TRIPS = 100 if QUICK else 500
CABINETS, CELLS = (50, 20) if QUICK else (500, 20)
EVENTS = 2_000 if QUICK else 20_000
PARK, PARK_SECONDS = int(os.environ.get("BENCH_CABINETS") or 1_000), 60
PREFIX = "/scooter-accumulator/internal/v1"
SETTINGS = """
[mqtt]
url = "mqtt://127.0.0.1:{port}"
[scooter_accumulator.commands]
pace_ms = 0
poll_ms = {poll_ms}
offline_after_ms = 86_400_000
"""
NEVER_MS, MINUTE_MS = 86_400_000, 60_000


def packet(kind, body):
    """An MQTT packet: its first byte, its length, its body."""
    length, size = len(body), b""
    while True:
        size += bytes([length % 128 | (0x80 if length > 127 else 0)])
        length //= 128
        if not length:
            return bytes([kind]) + size + body


def text(value):
    raw = value.encode()
    return len(raw).to_bytes(2, "big") + raw


class Mqtt:
    """As much of MQTT 3.1.1 as a cabinet needs; quality of service 1 both ways."""

    def __init__(self, name):
        self.socket = socket.create_connection(("127.0.0.1", BROKER_PORT))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.file = self.socket.makefile("rb")
        self.number = 0
        self.lock = threading.Lock()
        self.write(packet(0x10, text("MQTT") + b"\x04\x02\x00\x00" + text(name)))
        self.read()

    def write(self, raw):
        with self.lock:
            self.socket.sendall(raw)

    def read(self):
        first = self.file.read(1)
        if not first:
            raise EOFError
        length, shift = 0, 0
        while True:
            byte = self.file.read(1)[0]
            length |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return first[0], self.file.read(length)

    def subscribe(self, topic):
        self.write(packet(0x82, b"\x00\x01" + text(topic) + b"\x01"))
        while self.read()[0] != 0x90:
            pass

    def publish(self, topic, value):
        self.number = self.number % 65535 + 1
        head = text(topic) + self.number.to_bytes(2, "big")
        self.write(packet(0x32, head + json.dumps(value).encode()))

    def next(self):
        """The next message; acknowledgements of what was published are passed over."""
        return self.next_of()[1]

    def next_of(self):
        """The same, and its topic."""
        while True:
            kind, body = self.read()
            if kind >> 4 == 3:
                length = int.from_bytes(body[:2], "big")
                number, payload = body[2 + length : 4 + length], body[4 + length :]
                self.write(packet(0x40, number))
                return body[2 : 2 + length].decode(), json.loads(payload)


def event(kind, **more):
    now = datetime.datetime.now(datetime.timezone.utc).isoformat()
    return {"v": 1, "event_id": str(uuid.uuid4()), "at": now, "type": kind, **more}


def cabinet(stop):
    """Answers at once; told `shut`, its door is shut with the accumulator in it."""
    mqtt = Mqtt("cab-bench")
    mqtt.subscribe("cabinets/bench/commands")
    inside = [{"n": 1, "state": "charged", "accumulator_id": "bench-1", "charge": 100}]
    mqtt.publish("cabinets/bench/events", event("state", cells=inside))
    while not stop.is_set():
        command = mqtt.next()
        if command["type"] == "unlock_cells":
            cells = [{"n": n, "state": "open"} for n in command["cells"]]
            answer = event("command_result", command_id=command["command_id"], ok=True, cells=cells)
            mqtt.publish("cabinets/bench/events", answer)
        elif command["type"] == "shut":
            mqtt.publish("cabinets/bench/events", event("cell_changed", cells=inside))
        elif command["type"] == "ask":
            mqtt.publish("cabinets/bench/answers", event("answer"))


class Backend:
    def __init__(self, address):
        self.connection = http.client.HTTPConnection(address, timeout=10)
        self.connection.connect()
        self.connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def call(self, method, path, body, *statuses):
        headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
        self.connection.request(method, PREFIX + path, json.dumps(body) if body is not None else None, headers)
        answer = self.connection.getresponse()
        value = answer.read()
        if answer.status not in statuses:
            raise SystemExit(f"error: {method} {path}: {answer.status} {value.decode()}")
        return answer.status, json.loads(value) if value else None


def until(what, holds, seconds=60):
    started = time.monotonic()
    while not holds():
        if time.monotonic() > started + seconds:
            raise SystemExit(f"error: did not come true: {what}")
        time.sleep(0.005)


def milliseconds(times):
    times = sorted(times)
    return median(times) * 1000, times[int(len(times) * 0.99)] * 1000


def bare():
    asker = Mqtt("asker")
    asker.subscribe("cabinets/bench/answers")
    times = []
    for _ in range(ROUND_TRIPS):
        started = time.perf_counter()
        asker.publish("cabinets/bench/commands", {"type": "ask"})
        asker.next()
        times.append(time.perf_counter() - started)
    return milliseconds(times)


def execute(backend):
    helper, times = Mqtt("helper"), []
    booking = {"cabinet_id": "bench", "contractor_id": "t", "kind": "pickup", "count": 1}
    for _ in range(ROUND_TRIPS):
        listed = backend.call("POST", "/bookings", booking, 201)[1]["id"]
        started = time.perf_counter()
        backend.call("POST", f"/bookings/{listed}/execute", {}, 200)
        times.append(time.perf_counter() - started)
        helper.publish("cabinets/bench/commands", {"type": "shut"})
        until("it is settled", lambda: backend.call("GET", f"/bookings/{listed}", None, 200)[1]["status"] == "incomplete")
    return milliseconds(times)


def commits():
    script = f"{WORK}/commit.sql"
    with open(script, "w", encoding="utf-8") as file:
        file.write("UPDATE scooter_accumulator.cabinets SET firmware = 'bench' WHERE id = 'bench';\n")
    out = subprocess.run(
        [PGBENCH, "-n", "-M", "prepared", "-c", "1", "-t", str(ROUND_TRIPS), "-f", script, DATABASE],
        capture_output=True, text=True, check=True,
    ).stdout
    line = next(line for line in out.splitlines() if line.startswith("latency average"))
    return float(line.split("=")[1].split()[0])


def applied(server):
    wanted = 'scooter_accumulator_events_total{outcome="applied",type="state"} '
    for line in server.call("GET", "/metrics")[1].decode().splitlines():
        if line.startswith(wanted):
            return int(line[len(wanted):])
    return 0


def flood(server, backend):
    """States of many cabinets, in which a charge moves each time."""
    for number in range(CABINETS):
        body = {"id": f"c-{number}", "lat": 55.0, "lon": 37.0, "cell_count": CELLS}
        backend.call("POST", "/cabinets", body, 201, 409)

    def state(number, turn):
        cells = [
            {"n": n + 1, "state": "charging", "accumulator_id": f"c-{number}-{n}", "charge": (turn + n) % 100}
            for n in range(CELLS)
        ]
        return event("state", cells=cells)

    mqtt = Mqtt("flood")
    threading.Thread(target=lambda: drain(mqtt), daemon=True).start()
    before = applied(server)
    for number in range(CABINETS):
        mqtt.publish(f"cabinets/c-{number}/events", state(number, 0))
    until("the first states are applied", lambda: applied(server) >= before + CABINETS)
    # As autovacuum does within a minute: plans made while the tables were empty are made anew.
    psql("ANALYZE")
    events = [(number % CABINETS, state(number % CABINETS, 1 + number // CABINETS)) for number in range(EVENTS)]
    size = sum(len(json.dumps(value)) for _, value in events)
    before, cpu, started = applied(server), server.cpu_ms(), time.perf_counter()
    for number, value in events:
        mqtt.publish(f"cabinets/c-{number}/events", value)
    until("all are applied", lambda: applied(server) >= before + EVENTS)
    seconds = time.perf_counter() - started
    return EVENTS / seconds, size / seconds / 1e6, (server.cpu_ms() - cpu) / EVENTS * 1000


def drain(mqtt):
    try:
        while True:
            mqtt.read()
    except (EOFError, OSError):
        pass


def states(cabinet, turn):
    """What a cabinet of the park says when it is asked: every charge is another."""
    cells = [
        {"n": n + 1, "state": "charging", "accumulator_id": f"{cabinet}-{n}", "charge": (turn + n) % 100}
        for n in range(CELLS)
    ]
    return event("state", cells=cells)


def answering(mqtt):
    """All cabinets of the park in one: asked for its state, each says it and that it did."""
    turn = 0
    try:
        while True:
            topic, command = mqtt.next_of()
            cabinet, turn = topic.split("/")[1], turn + 1
            mqtt.publish(f"cabinets/{cabinet}/events", event("command_result", command_id=command["command_id"], ok=True))
            mqtt.publish(f"cabinets/{cabinet}/events", states(cabinet, turn))
    except (EOFError, OSError):
        pass


def park(server, backend):
    """Cabinets that are asked once a minute, and whose every charge has changed each time."""
    for number in range(PARK):
        body = {"id": f"p-{number}", "lat": 56.0, "lon": 38.0, "cell_count": CELLS}
        backend.call("POST", "/cabinets", body, 201, 409)
    mqtt = Mqtt("park")
    mqtt.subscribe("cabinets/+/commands")
    threading.Thread(target=answering, args=(mqtt,), daemon=True).start()
    until("each was asked once", lambda: applied(server) >= PARK, 120)
    psql("ANALYZE")
    before = (applied(server), server.cpu_ms(), family_cpu_ms(POSTMASTER), transactions())
    time.sleep(PARK_SECONDS)
    after = (applied(server), server.cpu_ms(), family_cpu_ms(POSTMASTER), transactions())
    return [(new - old) / PARK_SECONDS for old, new in zip(before, after)] + [server.rss_mb()]


def psql(sql):
    done = subprocess.run([PSQL, "-qAtc", sql, DATABASE], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def transactions():
    return int(psql("SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()"))


def broker():
    config = f"{WORK}/mosquitto.conf"
    with open(config, "w", encoding="utf-8") as file:
        file.write(f"listener {BROKER_PORT} 127.0.0.1\nallow_anonymous true\nset_tcp_nodelay true\n"
                   "max_queued_messages 100000\nlog_type error\n")
    program = shutil.which("mosquitto") or "/usr/sbin/mosquitto"
    process = subprocess.Popen([program, "-c", config], stderr=subprocess.DEVNULL)
    until("the broker is up", lambda: socket.socket().connect_ex(("127.0.0.1", BROKER_PORT)) == 0)
    return process


def main():
    mosquitto, stop, server = broker(), threading.Event(), None
    try:
        server = Server(WORK, SETTINGS.format(port=BROKER_PORT, poll_ms=NEVER_MS))
        backend = Backend(os.environ["FLEET__HTTP__LISTEN"])
        backend.call("POST", "/cabinets", {"id": "bench", "lat": 1.0, "lon": 1.0, "cell_count": 1}, 201, 409)
        threading.Thread(target=cabinet, args=(stop,), daemon=True).start()
        until("the cabinet is there", lambda: backend.call("GET", "/cabinets/bench", None, 200)[1]["counts"]["available"] == 1)
        bare_p50, bare_p99 = bare()
        p50, p99 = execute(backend)
        commit = commits()
        rate, megabytes, cpu = flood(server, backend)
        server.stop()
        psql("TRUNCATE scooter_accumulator.cabinets CASCADE")
        server = Server(WORK, SETTINGS.format(port=BROKER_PORT, poll_ms=MINUTE_MS))
        answers, own, other, commits_a_second, memory = park(server, Backend(os.environ["FLEET__HTTP__LISTEN"]))
    finally:
        stop.set()
        if server:
            server.stop()
        mosquitto.terminate()
    with open(f"{WORK}/cabinets.json", "w", encoding="utf-8") as file:
        json.dump({"bare_ms": bare_p50, "execute_ms": p50, "commit_ms": commit, "states_per_second": rate, "cabinets": PARK,
                   "park_cpu": own, "park_postgres": other}, file, indent=1)
    limit = bare_p50 + 2 * commit
    row("P6 execute at a cabinet, p50", server=f"{p50:.2f} ms",
        limit=f"bare question and answer {bare_p50:.2f} + 2 commits of {commit:.2f}: {limit:.2f} ms",
        ratio=f"{p50 / limit:.2f}", goal="≤ 1", met=p50 <= limit, latency=f"{p50:.2f} / {p99:.2f}")
    row("   bare question and answer", latency=f"{bare_p50:.2f} / {bare_p99:.2f}")
    row(f"states of {CELLS} cells applied", server=f"{rate:,.0f}/s, {megabytes:.2f} MB/s", goal="≥ 0.3 MB/s",
        met=megabytes >= 0.3, cpu=f"{cpu:.0f}")
    row(f"{PARK} cabinets of {CELLS} cells asked once a minute", server=f"{answers:.1f} states/s, {own / 10:.1f} % of a core",
        limit=f"PostgreSQL {other / 10:.1f} % of a core, {commits_a_second:.0f} transactions/s", memory=f"{memory:.0f} MB")


main()
