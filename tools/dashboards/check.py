#!/usr/bin/env python3
"""Checks without a server: dashboards are laid out so that Grafana takes them, each alert rule has a
run-book that exists, and docs/operations.md names the alerts that there are, and no others."""

import json
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
OPERATIONS = ROOT / "docs/operations.md"
RULES = sorted((ROOT / "deploy/prometheus/rules").glob("*.yml"))
BOARDS = sorted((ROOT / "deploy/grafana/dashboards").glob("*.json"))
ALERT = re.compile(r"^ +- alert: (\w+)$", re.M)


def anchors(text):
    """The anchors that GitHub gives the headings."""
    found = set()
    for heading in re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```", "", text, flags=re.M | re.S), re.M):
        found.add(re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-"))
    return found


def rule_faults():
    page = OPERATIONS.read_text()
    known, alerts = anchors(page), []
    for path in RULES:
        for rule in re.split(r"(?=^ +- alert: )", path.read_text(), flags=re.M)[1:]:
            name = ALERT.search(rule)[1]
            alerts.append(name)
            place = re.search(r"^ +runbook_url: (.+)$", rule, re.M)
            file, _, anchor = place[1].partition("#") if place else ("", "", "")
            if file != "docs/operations.md" or anchor not in known:
                yield f"{path.name}: {name} has no run-book, or one that does not exist: {file}#{anchor}"
            if not re.search(r"severity: (page|ticket)\b", rule) or "summary:" not in rule:
                yield f"{path.name}: {name} lacks a severity (page, ticket) or a summary"
    for name in {name for name in alerts if alerts.count(name) > 1}:
        yield f"there are several rules {name}"
    section = page[page.index("## What to watch"):page.index("## When something is down")]
    named = set(re.findall(r"`(Fleet\w+)`", section))
    for name in sorted(set(alerts) - named):
        yield f"docs/operations.md, What to watch, does not name {name}"
    for name in sorted(named - set(alerts)):
        yield f"docs/operations.md, What to watch, names {name}, and there is no such rule"


def overlap(one, other):
    return (one["x"] < other["x"] + other["w"] and other["x"] < one["x"] + one["w"]
            and one["y"] < other["y"] + other["h"] and other["y"] < one["y"] + one["h"])


def board_faults(path):
    board = json.loads(path.read_text())
    panels = board["panels"]
    names = {variable["name"] for variable in board["templating"]["list"]}
    if len({panel["id"] for panel in panels}) < len(panels):
        yield "panels share an id"
    for number, panel in enumerate(panels):
        title, place = panel["title"], panel["gridPos"]
        if place["x"] + place["w"] > 24 or any(overlap(place, other["gridPos"]) for other in panels[:number]):
            yield f"{title}: lies over another panel, or beyond the edge"
        if panel["type"] == "row":
            continue
        letters = [target["refId"] for target in panel["targets"]]
        if not letters or len(set(letters)) < len(letters):
            yield f"{title}: has no query, or two of one refId"
        for target in panel["targets"]:
            if target["datasource"]["uid"] != "${datasource}":
                yield f"{title}: a query without the chosen data source"
            unknown = set(re.findall(r"\$(\w+)", target["expr"])) - names - {"__rate_interval"}
            if unknown or re.search(r"@|\[R\]|\b(DOMAIN|UPSTREAMS|TASKS|QUEUES)\b", target["expr"]):
                yield f"{title}: something in {target['expr']} stands for nothing"


def main():
    faults = list(rule_faults())
    uids = [json.loads(path.read_text())["uid"] for path in BOARDS]
    if len(set(uids)) < len(uids):
        faults.append(f"dashboards share a uid: {uids}")
    for path in BOARDS:
        faults += [f"{path.name}: {fault}" for fault in board_faults(path)]
    print("\n".join(faults), file=sys.stderr, end="\n" if faults else "")
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
