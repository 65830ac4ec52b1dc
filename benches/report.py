"""One form for what every part of `make bench` measures, and one table of it.

A part prints a line `ROW`, TAB and the cells of COLUMNS with TABs between (here by `row`; those in Rust by
benches/measure/report.rs). `report.py take PART` passes on what it reads, and puts the rows in the place of the
part's earlier ones in .local/bench/results.json; `report.py failed PART` notes a part that ended with an error;
`report.py table` prints the table, and with WRITE=1 writes it to docs/performance.md.
"""

import json
import os
import platform
import sys
import time

COLUMNS = ("figure", "server", "limit", "ratio", "goal", "met", "cpu", "latency", "memory")
HEAD = ("figure", "server", "limit in the same run", "ratio", "goal", "met", "CPU ms / 1 000, server + PostgreSQL",
        "p50 / p99 ms", "memory")
RESULTS = ".local/bench/results.json"
PAGE = "docs/performance.md"
BEGIN, END = "<!-- table of make bench: begin -->", "<!-- table of make bench: end -->"


def row(figure, met=None, **cells):
    cells["met"] = {True: "yes", False: "NO", None: ""}[met]
    print("\t".join(["ROW", figure, *(str(cells.get(name, "")) for name in COLUMNS[1:])]), flush=True)


def load():
    try:
        with open(RESULTS, encoding="utf-8") as file:
            return json.load(file)
    except OSError:
        return {}


def put(part, rows):
    results = load()
    results[part] = {
        "rows": rows,
        "at": time.strftime("%Y-%m-%d %H:%M", time.gmtime()),
        "quick": bool(os.environ.get("QUICK")),
        "machine": machine(),
    }
    with open(RESULTS + ".new", "w", encoding="utf-8") as file:
        json.dump(results, file, indent=1, ensure_ascii=False)
    os.replace(RESULTS + ".new", RESULTS)


def machine():
    gigabytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    model = ""
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        for line in file:
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    return {"cores": os.cpu_count(), "memory_gb": round(gigabytes), "cpu": model, "kernel": platform.release(),
            "load_before": float(os.environ.get("BENCH_LOAD") or os.getloadavg()[0])}


def take(part):
    rows = []
    for line in sys.stdin:
        if line.startswith("ROW\t"):
            rows.append(dict(zip(COLUMNS, line.rstrip("\n").split("\t")[1:])))
        else:
            print(line, end="", flush=True)
    put(part, rows)


def lines(results, parts):
    yield HEAD
    for part in parts:
        for one in results.get(part, {}).get("rows", []):
            yield tuple(one.get(name, "") for name in COLUMNS)


def description(results, parts):
    known = [results[part] for part in parts if part in results]
    of = known[-1]["machine"]
    load = max(one["machine"]["load_before"] for one in known)
    short = [part for part in parts if part in results and results[part]["quick"]]
    which = "all parts" if len(short) == len(known) else ", ".join(short)
    quick = f" QUICK=1 (fewer data, fewer and shorter rounds): {which}." if short else ""
    first, last = min(one["at"] for one in known), max(one["at"] for one in known)
    return (f"{first} to {last} UTC; {of['cores']} cores ({of['cpu']}) and {of['memory_gb']} GB, shared by load generator,"
            f" server, PostgreSQL and stand-ins; load average before: {load:.1f} at most.{quick}")


def markdown(rows):
    head, *rest = rows
    text = [f"| {' | '.join(head)} |", "|" + " --- |" * len(head)]
    return "\n".join(text + ["| " + " | ".join(cell.replace("|", "/") for cell in line) + " |" for line in rest])


def write(results, parts, rows):
    with open(PAGE, encoding="utf-8") as file:
        page = file.read()
    before, rest = page.split(BEGIN)
    _, after = rest.split(END)
    with open(PAGE, "w", encoding="utf-8") as file:
        file.write(f"{before}{BEGIN}\n{description(results, parts)}\n\n{markdown(rows)}\n{END}{after}")


def table(parts):
    results = load()
    parts = [part for part in parts if part in results]
    if not parts:
        raise SystemExit("error: nothing was measured")
    rows = list(lines(results, parts))
    print(f"\n{description(results, parts)}\n")
    widths = [max(len(line[column]) for line in rows) for column in range(len(HEAD))]
    for line in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip())
    if os.environ.get("WRITE"):
        write(results, parts, rows)


def main():
    action, *arguments = sys.argv[1:]
    if action == "take":
        take(*arguments)
    elif action == "failed":
        # Behind what it had measured until then.
        part = arguments[0]
        put(part, load()[part]["rows"] + [{"figure": f"part {part}", "server": "ended with an error", "met": "NO"}])
    elif action == "table":
        table(arguments)


if __name__ == "__main__":
    main()
