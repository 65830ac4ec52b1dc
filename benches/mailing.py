"""Measures P5 of docs/performance.md: mailings to many drivers through stand-ins that answer at once.

The stand-ins share the cores: what is measured includes them. Called by parts/mailing.sh.
"""

import http.client
import json
import os
import sys
import time

from processes import TOKEN, Server, StandIns
from report import row

WORK, SANDBOX = sys.argv[1], sys.argv[2]
QUICK = bool(os.environ.get("QUICK"))
SIZES = [1_000, 10_000, 100_000] if QUICK else [1_000, 10_000, 100_000, 300_000]
if os.environ.get("BENCH_RECIPIENTS"):
    SIZES = [int(os.environ["BENCH_RECIPIENTS"])]
PORT = int(os.environ.get("BENCH_PORT", "18080")) + 20
STAND_INS = f"127.0.0.1:{PORT}"
MAILINGS = "/fleet-communications/dispatcher/v1/mailings"


def call(address, method, path, body=None, park="park-1"):
    connection = http.client.HTTPConnection(address, timeout=30)
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json",
               "X-Park-Id": park, "X-Dispatcher-Id": "1"}
    connection.request(method, path, json.dumps(body) if body is not None else None, headers)
    answer = connection.getresponse()
    text = answer.read()
    connection.close()
    if answer.status >= 300:
        raise SystemExit(f"error: {method} {path}: {answer.status} {text[:300]}")
    return json.loads(text) if text else None


def mail(server, size):
    """One mailing; its time, and the server's memory before, at most and after."""
    park = f"park-bench-{size}-{time.time_ns()}"
    call(STAND_INS, "PUT", f"/__sandbox/parks/{park}", {"drivers": size})
    before, most = server.rss_mb(), 0.0
    cpu = server.cpu_ms()
    started = time.monotonic()
    order = {"message": "Good morning, {first_name}!", "filter": {}}
    mailing = call(server.address, "POST", MAILINGS, order, park)["mailing_id"]
    while True:
        state = call(server.address, "GET", f"{MAILINGS}/{mailing}", park=park)
        most = max(most, server.rss_mb())
        if state["status"] == "sent":
            break
        if state["status"] != "sending" and state["status"] != "created":
            raise SystemExit(f"error: the mailing is {state}")
        time.sleep(0.02)
    took = time.monotonic() - started
    counts = call(STAND_INS, "GET", f"/__sandbox/feeds/delivered?park={park}")
    if (counts["drivers"], counts["deliveries"], counts["doubled"]) != (size, size, 0):
        raise SystemExit(f"error: {size} drivers, and feeds counted {counts}")
    return {"size": size, "seconds": took, "cpu_ms": server.cpu_ms() - cpu,
            "rss_before": before, "rss_most": most, "rss_after": server.rss_mb()}


def main():
    stand_ins = StandIns(WORK, SANDBOX, STAND_INS)
    os.environ["FLEET__HTTP__LISTEN"] = f"127.0.0.1:{PORT + 1}"
    os.environ["FLEET__DOMAINS"] = "fleet-communications"
    try:
        server = Server(WORK, stand_ins.upstreams(parks="parks", feeds="feeds"))
        try:
            mail(server, 1_000)
            results = [mail(server, size) for size in SIZES]
        finally:
            server.stop()
    finally:
        stand_ins.stop()
    with open(f"{WORK}/mailing.json", "w", encoding="utf-8") as file:
        json.dump(results, file, indent=1)
    for one in results:
        judged = one["size"] == 100_000
        row(f"P5 mailing to {one['size']:,} drivers", server=f"{one['seconds']:.2f} s, {one['size'] / one['seconds']:,.0f}/s",
            goal="≤ 10 s" if judged else "", met=one["seconds"] <= 10 if judged else None,
            cpu=f"{one['cpu_ms'] / one['size'] * 1000:.1f}",
            memory=f"{one['rss_before']:.0f} MB before, {one['rss_most']:.0f} most, {one['rss_after']:.0f} after")


main()
