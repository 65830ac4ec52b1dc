"""Measures P7 of docs/performance.md: a proxied estimate beside nginx as a plain reverse proxy.

Three processes answer the same request in the same run: an `int-api` that answers at once (nginx with
a constant), nginx as a proxy before it, and the server before it. Called by parts/orders.sh.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from statistics import median

from processes import TOKEN, Server, family_cpu_ms, wrk
from report import row

WORK = sys.argv[1]
QUICK = bool(os.environ.get("QUICK"))
ROUNDS, SECONDS = (3, 4) if QUICK else (5, 8)
NGINX = shutil.which("nginx") or "/usr/sbin/nginx"
FIRST_PORT = int(os.environ.get("BENCH_PORT", "18080")) + 10
INT_API, PROXY, SERVER = (f"127.0.0.1:{FIRST_PORT + offset}" for offset in range(3))

ROUTE = [{"lat": 55.75, "lon": 37.61, "address": "A"}, {"lat": 55.81, "lon": 37.5, "address": "B"}]
ESTIMATE = {
    "route": ROUTE,
    "classes": ["econom", "business"],
    "requirements": {"child_seat": 1, "animal": True},
    "comment": "Call five minutes before, please; the entrance is from the yard",
}
ANSWER = {
    "offer_id": "01a1fbf3410f717e8e862c01c09ab3e9",
    "currency": "RUB",
    "estimates": [
        {"class": "econom", "price": "305.96", "eta_seconds": 219},
        {"class": "business", "price": "812.50", "eta_seconds": 340},
    ],
}
PARK = {
    "id": "park-1", "dispatch_mode": "saas", "locale": "ru", "currency": "RUB",
    "time_zone": "Europe/Moscow", "country_id": "ru", "city_id": "moscow", "is_active": True,
}
PHONE = {"id": "670dec9ec8a3e1716417ac5a0ee5e96d", "value": "+79995551122"}

COMMON = """worker_processes 2; daemon off; pid {work}/{name}.pid; error_log {work}/{name}.log warn;
events {{ worker_connections 1024; }}
http {{ access_log off; client_body_temp_path {work}/{name}.body; proxy_temp_path {work}/{name}.proxy;
fastcgi_temp_path {work}/{name}.f; uwsgi_temp_path {work}/{name}.u; scgi_temp_path {work}/{name}.s;
default_type application/json; keepalive_requests 1000000000; {rest} }}
"""


class Nginx:
    def __init__(self, name, rest):
        config = f"{WORK}/{name}.conf"
        with open(config, "w", encoding="utf-8") as file:
            file.write(COMMON.format(work=os.path.abspath(WORK), name=name, rest=rest))
        self.process = subprocess.Popen([NGINX, "-p", WORK, "-c", os.path.abspath(config)])

    def cpu_ms(self):
        return family_cpu_ms(self.process.pid)

    def stop(self):
        self.process.terminate()
        self.process.wait(10)


def constant(path, answer):
    return f"location {path} {{ return 200 '{json.dumps(answer)}'; }}"


def say(text):
    print(f"==> {text}", file=sys.stderr, flush=True)


def called(address, path, body, process, connections, seconds):
    return wrk(address, "orders", [path, json.dumps(body), TOKEN], seconds, connections, {"cpu": process.cpu_ms})


def measure(ways):
    """Each way alone (one connection) and under load (32), interleaved."""
    results = {name: {"alone": [], "loaded": []} for name in ways}
    for turn in range(ROUNDS):
        say(f"P7 estimate: round {turn + 1} of {ROUNDS}")
        for name in list(ways)[:: -1 if turn % 2 else 1]:
            results[name]["alone"].append(called(*ways[name], 1, SECONDS // 2))
            results[name]["loaded"].append(called(*ways[name], 32, SECONDS))
    return results


def middle(results, field):
    return median(result[field] for result in results)


def table(results):
    direct, nginx = results["int-api itself"], results["nginx as a proxy"]
    for name, result in results.items():
        alone, loaded = result["alone"], result["loaded"]
        ratio = median(a["cpu"] / b["cpu"] for a, b in zip(loaded, nginx["loaded"]))
        added = median(a["p50_ms"] - b["p50_ms"] for a, b in zip(alone, direct["alone"]))
        judged = name == "server"
        row(f"P7 estimate: {name}", server=f"{middle(loaded, 'per_second'):,.0f}/s",
            limit="CPU of nginx as a reverse proxy", ratio=f"{ratio:.2f}", goal="≤ 2" if judged else "",
            met=ratio <= 2 if judged else None, cpu=f"{middle(loaded, 'cpu'):.1f}",
            latency=f"{middle(loaded, 'p50_ms'):.2f} / {middle(loaded, 'p99_ms'):.2f}")
        row(f"   p50 added, alone: {name}", server=f"{added:.3f} ms", goal="≤ 1 ms" if judged else "",
            met=added <= 1 if judged else None)


def main():
    locations = " ".join([
        constant("/v1/orders/estimate", ANSWER), constant("/v1/parks/", PARK), constant("/v1/phones/", PHONE),
    ])
    upstream = Nginx("int-api", f"server {{ listen {INT_API}; {locations} }}")
    proxy = Nginx("proxy", f"upstream behind {{ server {INT_API}; keepalive 64; }} server {{ listen {PROXY};"
                  ' location / { proxy_pass http://behind; proxy_http_version 1.1; proxy_set_header Connection ""; } }')
    os.environ["FLEET__HTTP__LISTEN"] = SERVER
    upstreams = "".join(f'[upstreams.{name}]\nbase_url = "http://{INT_API}"\n' for name in ("int_api", "fleet_parks", "personal"))
    # Alone, as a company would run it that has no other domain.
    os.environ["FLEET__DOMAINS"] = "fleet-orders-manager"
    server = Server(WORK, upstreams)
    with_phone = {**ESTIMATE, "phone": "+7 999 555-11-22"}
    path = "/fleet-orders-manager/dispatcher/v1/orders/estimate"
    try:
        time.sleep(0.5)
        results = measure({
            "int-api itself": (INT_API, "/v1/orders/estimate", ESTIMATE, upstream),
            "nginx as a proxy": (PROXY, "/v1/orders/estimate", ESTIMATE, proxy),
            "server": (SERVER, path, ESTIMATE, server),
            "server, with a phone (personal asked too)": (SERVER, path, with_phone, server),
        })
    finally:
        for process in (server, proxy, upstream):
            process.stop()
    with open(f"{WORK}/orders.json", "w", encoding="utf-8") as file:
        json.dump(results, file, indent=1)
    table(results)


main()
