#!/usr/bin/env python3
"""Runs a command on a machine that stands still now and then: `STALLS=2 make test`.

Single threads of the command and of its children, and PostgreSQL's sessions that serve it, are stopped for up to
STALLS seconds each, a few at a time, until it ends. What fails then and not otherwise is a race with the machine:
of the test, or of the server. SEED chooses who is stopped and when; what the scheduler does is not repeated. Linux
only, and who runs it must be allowed to trace his own processes (kernel.yama.ptrace_scope 0 or 1, or root).
"""

import ctypes
import os
import random
import re
import subprocess
import sys
import time
from pathlib import Path

SEIZE, INTERRUPT, DETACH = 0x4206, 0x4207, 17  # ptrace(2)
ALL_THREADS = 0x40000000  # waitpid(2): __WALL
LONGEST = float(os.environ.get("STALLS") or 2)
SEED = int(os.environ.get("SEED") or time.time())

libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
libc.ptrace.restype = ctypes.c_long


def threads(process):
    try:
        return [int(name) for name in os.listdir(f"/proc/{process}/task")]
    except FileNotFoundError:
        return []


def children(process):
    found = []
    for thread in threads(process):
        try:
            direct = Path(f"/proc/{process}/task/{thread}/children").read_text(encoding="ascii").split()
        except OSError:
            continue
        for child in map(int, direct):
            found += [child, *children(child)]
    return found


def sessions(process):
    """Of the databases that the tests of this process have made (tests/it/support/database.rs)."""
    title, found = re.compile(rb"^postgres: \S+ fleet_test_\d+_%d_" % process), []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and title.match((entry / "cmdline").read_bytes()):
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def stop(thread):
    """Whether it stands still."""
    if libc.ptrace(SEIZE, thread, None, None) != 0:
        return False
    libc.ptrace(INTERRUPT, thread, None, None)
    try:
        os.waitpid(thread, ALL_THREADS)
    except ChildProcessError:
        return False
    return True


def stall(process, chance):
    """Some threads of a kind, for a while."""
    kind = chance.choice(["own", "own", "own", "children", "sessions"])
    if kind == "own":
        candidates = threads(process)
    elif kind == "children":
        candidates = [thread for child in children(process) for thread in threads(child)]
    else:
        candidates = sessions(process)
    chosen = chance.sample(candidates, min(len(candidates), chance.choice([1, 2, 4])))
    stopped = [thread for thread in chosen if stop(thread)]
    if stopped:
        time.sleep(chance.uniform(LONGEST / 4, LONGEST))
    for thread in stopped:
        libc.ptrace(DETACH, thread, None, None)
    return len(stopped)


def main():
    chance, stalls = random.Random(SEED), 0
    print(f"==> threads stand still for up to {LONGEST:g} s (SEED={SEED})", file=sys.stderr, flush=True)
    with subprocess.Popen(sys.argv[1:]) as command:
        while command.poll() is None:
            stalls += stall(command.pid, chance)
            time.sleep(chance.uniform(0.05, 0.8))
    print(f"==> {stalls} times a thread stood still", file=sys.stderr)
    # A command that was killed ends as a shell says it.
    return command.returncode if command.returncode >= 0 else 128 - command.returncode


if __name__ == "__main__":
    sys.exit(main())
