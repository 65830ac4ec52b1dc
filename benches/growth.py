"""What a unit of work costs when there is 1, 10 and 100 times as much: rows of the table, and with WRITE=1 a drawing,
docs/growth.svg. Reads what parts/growth.sh kept of other parts.

The largest sizes are what the services were planned for (five million customers, a million licences); a line that
stays level means that the whole grows no faster than what there is.
"""

import glob
import json
import os
import re
import sys
from statistics import median

from report import row

WORK = sys.argv[1]
PAGE = "docs/growth.svg"
# Of the cost at 100 times to that at once: indices grow by a level, caches of the machine end.
GOAL = 1.5


def sizes(part):
    """What was kept of a part, by size."""
    found = {}
    for path in glob.glob(f"{WORK}/growth-{part}-*.json"):
        with open(path, encoding="utf-8") as file:
            found[int(re.search(r"-(\d+)\.json$", path)[1])] = json.load(file)
    return dict(sorted(found.items()))


def cpu(rounds):
    """CPU of server and PostgreSQL for a request, in µs."""
    return median(one["server_cpu"] + one["postgres_cpu"] for one in rounds)


def full_read(kept, size):
    """Of an item, in µs."""
    return median(one["seconds"] for one in kept["full"] if one["limit"] == 10_000) / size * 1e6


def series():
    """What is told: title, unit, value by size."""
    customers, updates, mailing, cabinets = (sizes(part) for part in ("customers", "updates", "mailing", "cabinets"))
    return [
        ("customer looked up, among customers", "µs CPU", {n: cpu(kept["p1"]["server"]) for n, kept in customers.items()}),
        ("customer upserted, among customers", "µs CPU", {n: cpu(kept["p2"]["server"]) for n, kept in customers.items()}),
        ("feed polled in vain, of bindings", "µs CPU", {n: cpu(kept["empty"]) for n, kept in updates.items()}),
        ("item of a full read, of bindings", "µs", {n: full_read(kept, n) for n, kept in updates.items()}),
        ("100 drivers checked, among bindings", "µs CPU", {n: cpu(kept["check"]) for n, kept in updates.items()}),
        ("recipient of a mailing, of recipients", "µs", {n: kept[-1]["seconds"] / n * 1e6 for n, kept in mailing.items()}),
        ("cabinet asked once a minute, of cabinets", "ms CPU a minute",
         {n: (kept["park_cpu"] + kept["park_postgres"]) * 60 / n for n, kept in cabinets.items()}),
    ]


def told(title, unit, values):
    first, last = list(values.values())[0], list(values.values())[-1]
    row(f"growth: {title}", server="; ".join(f"{size:,}: {value:,.3g}" for size, value in values.items()) + f" {unit}",
        ratio=f"{last / first:.2f} at 100 ×", goal=f"≤ {GOAL}", met=last / first <= GOAL)


def drawing(lines):
    """Cost of a unit, against that of the smallest size; the horizontal axis counts in powers of ten."""
    width, height, left, top, legend = 360, 260, 46, 16, 300
    most = max(2.0, *(value / list(values.values())[0] for _, _, values in lines for value in values.values()))
    down = lambda value: top + height * (1 - value / most)
    right = lambda step: left + width * step / 2
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {left + width + legend} {top + height + 40}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="100%" height="100%" fill="white"/><path d="M{left} {top}V{top + height}H{left + width}" '
        'fill="none" stroke="#444"/>',
    ]
    for step, label in enumerate(("1 ×", "10 ×", "100 ×")):
        parts.append(f'<text x="{right(step)}" y="{top + height + 18}" text-anchor="middle">{label}</text>')
    for value in range(int(most) + 1):
        parts.append(f'<text x="{left - 8}" y="{down(value) + 4}" text-anchor="end">{value}</text>'
                     f'<path d="M{left} {down(value)}h{width}" stroke="#ddd"/>')
    for number, (title, _, values) in enumerate(lines):
        colour = f"hsl({number * 360 // len(lines)} 65% 42%)"
        first = list(values.values())[0]
        points = " ".join(f"{right(step):.0f},{down(value / first):.1f}" for step, value in enumerate(values.values()))
        at = top + 14 + 20 * number
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>'
                     f'<path d="M{left + width + 14} {at - 4}h16" stroke="{colour}" stroke-width="3"/>'
                     f'<text x="{left + width + 36}" y="{at}">{title}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def main():
    lines = [line for line in series() if line[2]]
    for line in lines:
        told(*line)
    if os.environ.get("WRITE"):
        with open(PAGE, "w", encoding="utf-8") as file:
            file.write(drawing(lines))


main()
