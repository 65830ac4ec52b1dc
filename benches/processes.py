"""The server as a process of ours, and what processes use."""

import hashlib
import http.client
import json
import os
import re
import subprocess
import time

TOKEN = "bench"
TICKS = os.sysconf("SC_CLK_TCK")


class Server:
    """The release server with its defaults and one caller. Database and address: FLEET__…"""

    def __init__(self, work, config_text=""):
        self.address = os.environ["FLEET__HTTP__LISTEN"]
        config = f"{work}/config.toml"
        digest = hashlib.sha256(TOKEN.encode()).hexdigest()
        with open(config, "w", encoding="utf-8") as file:
            file.write(
                f'[[auth.callers]]\nname = "bench"\ntoken_sha256 = "{digest}"\n'
                f'audiences = ["dispatcher", "internal"]\n{config_text}'
            )
        began = time.monotonic()
        self.process = started([f"{work}/fleet", "serve", "--config", config], f"{work}/server.log")
        self.ready_ms = self._await_ready(began)

    def _await_ready(self, began):
        while time.monotonic() < began + 30 and self.process.poll() is None:
            try:
                if self.call("GET", "/readyz")[0] == 200:
                    return (time.monotonic() - began) * 1000
            except OSError:
                pass
            time.sleep(0.001)
        self.stop()
        raise SystemExit("error: the server did not become ready (see .local/bench/server.log)")

    def call(self, method, path, body=None):
        connection = http.client.HTTPConnection(self.address, timeout=5)
        headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
        connection.request(method, path, json.dumps(body) if body else None, headers)
        answer = connection.getresponse()
        text = answer.read()
        connection.close()
        return answer.status, text

    def rss_mb(self, sort="VmRSS"):
        """What it has in memory; RssAnon: without the pages of files, its program's above all."""
        with open(f"/proc/{self.process.pid}/status", encoding="utf-8") as file:
            lines = dict(line.split(":", 1) for line in file)
        return int(lines[sort].split()[0]) / 1024

    def cpu_ms(self):
        return own_cpu_ms(self.process.pid)

    def stop(self):
        stop(self.process)


def folder(work, name, program=None):
    """A place for another server's configuration and log, with its program: that of `work` or another."""
    path = f"{work}/{name}"
    os.makedirs(path, exist_ok=True)
    link = f"{path}/fleet"
    if os.path.lexists(link):
        os.remove(link)
    os.symlink(os.path.abspath(program or f"{work}/fleet"), link)
    return path


# Each outside service, and where the stand-ins have it.
OUTSIDE = {
    "personal": "personal", "int_api": "int-api", "fleet_parks": "fleet-parks", "parks": "parks", "feeds": "feeds",
    "driver_profiles": "driver-profiles", "driver_categories": "driver-categories-api",
    "driver_trackstory": "driver-trackstory", "krt": "krt",
}


class StandIns:
    """The stand-ins, with what they say in a file of the folder."""

    def __init__(self, work, program, address, *arguments):
        self.address = address
        self.process = started([program, "sandbox", "--listen", address, *arguments], f"{work}/stand-ins.log")
        until = time.monotonic() + 20
        while time.monotonic() < until and self.process.poll() is None:
            try:
                connection = http.client.HTTPConnection(address, timeout=1)
                connection.request("GET", "/__sandbox/health")
                if connection.getresponse().status == 200:
                    return
            except OSError:
                pass
            time.sleep(0.05)
        self.stop()
        raise SystemExit("error: the stand-ins do not answer (see .local/bench/stand-ins.log)")

    def upstreams(self, **paths):
        """The sections of a server's configuration that lead here: name = path."""
        return "".join(
            f'[upstreams.{name}]\nbase_url = "http://{self.address}/{path}"\ntoken = "{TOKEN}"\n'
            for name, path in paths.items()
        )

    def everything(self):
        """The same for all of them, and whatever else a domain does not start without."""
        return (
            self.upstreams(**OUTSIDE)
            + '[secrets]\ntoken_key = "YmVuY2gtYmVuY2gtYmVuY2gtYmVuY2gtYmVuY2gtMzI="\n'
            + "[deptrans_driver_status_integration.krt]\nlogin = 'fleet'\npassword = 'sandbox'\n"
        )

    def stop(self):
        stop(self.process)


def wrk_result(out):
    """What shared.lua says at the end of a run."""
    return json.loads(re.search(r"^RESULT (.*)$", out, re.M)[1])


def wrk(address, script, arguments, seconds, connections, cpu):
    """Runs wrk with a script of this folder and what that is given. `cpu` has functions that tell CPU in
    milliseconds, by name: to the result come, under that name, the milliseconds of a thousand requests."""
    before = {name: of() for name, of in cpu.items()}
    done = subprocess.run(
        ["wrk", f"-t{min(2, connections)}", f"-c{connections}", f"-d{seconds}s", "-s", f"benches/{script}.lua"]
        + [f"http://{address}", "--", *map(str, arguments)],
        capture_output=True, text=True, check=False,
    )
    if done.returncode:
        raise SystemExit(f"error: wrk: {done.stderr[-1000:]}")
    result = wrk_result(done.stdout)
    spent = {name: of() - before[name] for name, of in cpu.items()}
    if result["failed"] or not result["requests"]:
        called = f"{script} of {address}"
        raise SystemExit(f"error: {called}: {result['failed']} requests failed ({result['how']})")
    result["per_second"] = result["requests"] / result["seconds"]
    return {**result, **{name: ms / result["requests"] * 1000 for name, ms in spent.items()}}


def started(command, log):
    with open(log, "w", encoding="utf-8") as file:
        return subprocess.Popen(command, stdout=file, stderr=file)


def stop(process):
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def fields(pid):
    """/proc/PID/stat behind the command's name, which may hold spaces."""
    with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
        return file.read().rpartition(")")[2].split()


def own_cpu_ms(pid):
    user, system = fields(pid)[11:13]
    return (int(user) + int(system)) * 1000 / TICKS


def family_cpu_ms(first):
    """A first process, those it waited for, and its children that run."""
    if not first:
        return 0.0
    waited = sum(int(ticks) for ticks in fields(first)[13:15]) * 1000 / TICKS
    total = own_cpu_ms(first) + waited
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if int(fields(pid)[1]) == first:
                total += own_cpu_ms(pid)
        except OSError:
            continue  # It ended meanwhile.
    return total
