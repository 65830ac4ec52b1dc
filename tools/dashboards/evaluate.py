#!/usr/bin/env python3
"""evaluate.py FLEET SANDBOX PROMETHEUS: asks a Prometheus that scrapes a running server every query, and
tells which find nothing. First, before any call: both sides of every comparison in the alert rules. Then,
while calls are made: these, what rules record, all queries and variables of the dashboards. In the end
whether docs/operations.md names the metrics that the server has, and no others.
"""

import json
import math
import pathlib
import re
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

import traffic

ROOT = pathlib.Path(__file__).resolve().parents[2]
BOARDS = sorted((ROOT / "deploy/grafana/dashboards").glob("*.json"))
PATIENCE = 20  # seconds, before the first call
CALLS_PATIENCE = 90  # and with calls
# What stands for other things in dashboards.
WORDS = {"$__rate_interval": "1m", "$instance": ".*", "$domain": ".*"}
OPENING, CLOSING = "([{", ")]}"
# Of what two sets are made one, or a number is kept for.
OPERATOR = re.compile(r"(==|!=|>=|<=|>|<)(\s*bool\b)?|\b(and|or|unless)\b")
MATCHING = re.compile(r"\s*(on|ignoring|group_left|group_right)\s*\([^)]*\)")
NUMBER = re.compile(r"[\d.eE+\-*/ ]+|vector\([\d.]+\)")


def get(url):
    with urllib.request.urlopen(url, timeout=10) as answer:
        return answer.read().decode()


class Prometheus:
    def __init__(self, base):
        self.base = base

    def ask(self, path, **parameters):
        try:
            answer = get(f"{self.base}/api/v1/{path}?{urllib.parse.urlencode(parameters)}")
        except urllib.error.HTTPError as error:
            answer = error.read().decode()
        answer = json.loads(answer)
        if answer["status"] != "success":
            raise ValueError(answer["error"])
        return answer["data"]

    def values(self, expression):
        return [float(one["value"][1]) for one in self.ask("query", query=expression)["result"]]


def operands(expression):
    """What an alert compares and combines, each side by itself; no plain numbers."""
    expression = expression.strip()
    while expression.startswith("(") and end_of(expression, 0) == len(expression) - 1:
        expression = expression[1:-1].strip()
    place, begin, parts = 0, 0, []
    while place < len(expression):
        letter = expression[place]
        operator = OPERATOR.match(expression, place)
        if letter in OPENING:
            place = end_of(expression, place)
        elif letter in "\"'":
            place = expression.index(letter, place + 1)
        elif operator and (letter in "=!<>" or not expression[place - 1].isalnum()):
            parts.append(expression[begin:place])
            place = operator.end()
            while matching := MATCHING.match(expression, place):
                place = matching.end()
            begin = place
            continue
        place += 1
    if not parts:
        return [] if NUMBER.fullmatch(expression) else [expression]
    parts.append(expression[begin:])
    return [operand for part in parts for operand in operands(part)]


def end_of(text, place):
    """Where what is opened there is closed."""
    depth = 0
    while True:
        letter = text[place]
        if letter in "\"'":
            place = text.index(letter, place + 1)
        depth += (letter in OPENING) - (letter in CLOSING)
        if depth == 0:
            return place
        place += 1


def without_comments(expression):
    return re.sub(r"^\s*#.*$", "", expression, flags=re.M)


def rule_queries(prometheus, with_records):
    groups = prometheus.ask("rules")["groups"]
    for rule in (rule for group in groups for rule in group["rules"]):
        if rule["type"] == "recording":
            if with_records:
                yield rule["name"], rule["query"], False
            continue
        for operand in operands(without_comments(rule["query"])):
            # Answers with 5xx, and their shares: there are none before a call fails.
            if with_records or not re.search("5[.][.]|domain:http_errors", operand):
                yield rule["name"], operand, False


def board_queries():
    for path in BOARDS:
        board = json.loads(path.read_text())
        for panel in board["panels"]:
            for target in panel.get("targets", []):
                yield f"{path.stem}: {panel['title']}", target["expr"], True
        for variable in board["templating"]["list"]:
            values = re.fullmatch(r"label_values\((.+), (\w+)\)", variable.get("definition", ""))
            if values:
                yield f"{path.stem}: ${variable['name']}", f"count by ({values[2]}) ({values[1]})", True


def answered(prometheus, expression, with_number):
    """None, or what is wrong with the answer."""
    for word, meaning in WORDS.items():
        expression = expression.replace(word, meaning)
    try:
        values = prometheus.values(expression)
    except ValueError as error:
        return f"is refused: {error}"
    if not values:
        return "finds nothing"
    if with_number and all(map(math.isnan, values)):
        return "finds no number"
    return None


def unanswered(prometheus, queries, patience, meanwhile):
    """Those that find nothing, though they were asked again and again: a rate needs two scrapes with a call
    between, and rules take their time. `meanwhile` is given the number of the round."""
    deadline, number = time.monotonic() + patience, 0
    while True:
        meanwhile(number)
        asked = [(query, answered(prometheus, *query[1:])) for query in queries]
        faults = [(query, fault) for query, fault in asked if fault]
        if not faults or time.monotonic() > deadline:
            return [f"{name}: {fault}: {' '.join(text.split())}" for (name, text, _), fault in faults]
        queries, number = [query for query, _ in faults], number + 1
        time.sleep(1)


def undocumented(fleet):
    exported = set(re.findall(r"^# TYPE (\w+) ", get(f"{fleet}/metrics"), re.M))
    page = (ROOT / "docs/operations.md").read_text()
    section = page[page.index("## What to watch"):page.index("## When something is down")]
    rows = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    named = {name for row in rows for name in re.findall(r"`([a-z][a-z0-9_]+)[`{]", row)} - {"up"}
    for name in sorted(exported - named):
        yield f"docs/operations.md, What to watch, does not name {name}"
    for name in sorted(named - exported):
        yield f"docs/operations.md, What to watch, names {name}, which the server does not have"


def report(what, count, faults):
    print("\n".join(faults), file=sys.stderr, end="\n" if faults else "")
    print(f"{what}: {count} queries asked, {len(faults)} faults")
    if faults:
        sys.exit(1)


def main():
    fleet, sandbox, prometheus = sys.argv[1], sys.argv[2], Prometheus(sys.argv[3])
    queries = list(rule_queries(prometheus, False))
    if not queries:
        sys.exit("Prometheus knows no rules")
    faults = unanswered(prometheus, queries, PATIENCE, lambda _number: None)
    report("alerts, before the first call", len(queries), faults)
    queries = [*rule_queries(prometheus, True), *board_queries()]
    traffic.begin(fleet, sandbox)
    faults = unanswered(prometheus, queries, CALLS_PATIENCE, traffic.round_of_calls)
    report("dashboards and alerts", len(queries), faults + list(undocumented(fleet)))


if __name__ == "__main__":
    try:
        main()
    except traffic.Refused as refused:
        sys.exit(f"error: {refused}")
