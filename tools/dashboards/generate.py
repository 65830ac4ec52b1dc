#!/usr/bin/env python3
"""Makes Grafana's dashboards (deploy/grafana/dashboards/*.json) of their descriptions
(deploy/grafana/panels/*.toml). With --check nothing is written: exit 1 where a file is not what its
description makes.

A description: `title`, `domain` (none: all, and a variable chooses), `[[rows]]` with a `title` and
`[[rows.panels]]`, or with `use`, the name of a row in common.toml. A panel: `title`, `unit`, `help`, `kind`
(timeseries, stat, table), `width` (of 24), `limit` (a red line there), `stack`, and what it shows: `expr`
and `legend`, or `queries` of [expr, legend], or `quantiles`, a histogram's selector, with `by`. In expressions and legends `@` stands for the labels that every series is
chosen by, `[R]` for the range of a rate, `DOMAIN`, `UPSTREAMS`, `TASKS` and `QUEUES` for what the
description says.
"""

import json
import pathlib
import re
import sys

if sys.version_info < (3, 11):
    sys.exit("error: this needs Python 3.11 or newer, for tomllib")
import tomllib

ROOT = pathlib.Path(__file__).resolve().parents[2]
PANELS = ROOT / "deploy/grafana/panels"
DASHBOARDS = ROOT / "deploy/grafana/dashboards"
SCHEMA = 39  # of Grafana 11
WIDTH, HEIGHT, STAT_HEIGHT = 8, 8, 4
CHOSEN = 'job="fleet",instance=~"$instance"'
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}


def fill(text, board):
    """An expression with what stands for the dashboard's own words filled in."""
    words = {
        "DOMAIN": board.get("domain", "$domain"),
        "UPSTREAMS": board.get("upstreams", ".+"),
        "TASKS": board.get("tasks", ".+"),
        "QUEUES": board.get("queues", ".+"),
    }
    for word, meaning in words.items():
        text = re.sub(rf"\b{word}\b", lambda _: meaning, text)
    return text.replace("@", CHOSEN).replace("[R]", "[$__rate_interval]")


def queries_of(panel):
    """Pairs of an expression and a legend."""
    if "quantiles" not in panel:
        return panel.get("queries") or [[panel["expr"], panel.get("legend", "")]]
    metric, selector = panel["quantiles"].split("{")
    by = panel.get("by", "")
    group = f"le, {by}" if by else "le"
    legend = f" {{{{{by}}}}}" if by else ""
    rate = f"sum by ({group}) (rate({metric}_bucket{{{selector}[R]))"
    return [[f"histogram_quantile({q}, {rate})", f"p{q[2:]:0<2}{legend}"] for q in ("0.5", "0.99")]


def targets(panel, board):
    queries = queries_of(panel)
    kind = panel.get("kind", "timeseries")
    return [
        {
            "datasource": DATASOURCE,
            "editorMode": "code",
            "expr": fill(expr, board),
            "instant": kind != "timeseries",
            "range": kind == "timeseries",
            "format": "table" if kind == "table" else "time_series",
            "legendFormat": legend or "__auto",
            "refId": chr(ord("A") + number),
        }
        for number, (expr, legend) in enumerate(queries)
    ]


def thresholds(panel):
    steps = [{"color": "green", "value": None}]
    if "limit" in panel:
        steps.append({"color": "red", "value": panel["limit"]})
    if panel.get("below"):  # what is below the limit is bad
        steps = [{"color": "red", "value": None}, {"color": "green", "value": panel["limit"]}]
    return {"mode": "absolute", "steps": steps}


def field(panel):
    kind = panel.get("kind", "timeseries")
    defaults = {
        "unit": panel.get("unit", "short"),
        "thresholds": thresholds(panel),
        "color": {"mode": "thresholds" if kind == "stat" else "palette-classic"},
        "min": 0,
    }
    if kind == "timeseries":
        custom = {
            "lineWidth": 1,
            "fillOpacity": 20 if panel.get("stack") else 5,
            "showPoints": "never",
            "thresholdsStyle": {"mode": "line" if "limit" in panel else "off"},
        }
        if panel.get("stack"):
            custom["stacking"] = {"mode": "normal", "group": "A"}
        defaults["custom"] = custom
    if panel.get("words"):
        options = {value: {"text": text, "index": n} for n, (value, text) in enumerate(panel["words"].items())}
        defaults["mappings"] = [{"type": "value", "options": options}]
    return {"defaults": defaults, "overrides": []}


def options(kind):
    if kind == "stat":
        return {
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
            "colorMode": "background",
            "graphMode": "none",
            "textMode": "auto",
        }
    if kind == "table":
        return {"showHeader": True}
    return {
        "legend": {"displayMode": "table", "placement": "bottom", "calcs": ["lastNotNull", "max"]},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }


def draw(panel, board, place, number):
    kind = panel.get("kind", "timeseries")
    drawn = {
        "id": number,
        "type": kind,
        "title": panel["title"],
        "datasource": DATASOURCE,
        "gridPos": place,
        "targets": targets(panel, board),
        "fieldConfig": field(panel),
        "options": options(kind),
    }
    if "help" in panel:
        drawn["description"] = panel["help"]
    if kind == "table":
        drawn["transformations"] = [{"id": "organize", "options": {"excludeByName": {"Time": True}}}]
    return drawn


def lay_out(rows, board):
    """All panels, from the left to the right and from the top down."""
    drawn, number, top = [], 1, 0
    for row in rows:
        place = {"x": 0, "y": top, "w": 24, "h": 1}
        drawn.append(
            {"id": number, "type": "row", "title": row["title"], "collapsed": False, "gridPos": place, "panels": []}
        )
        number, top, left, line = number + 1, top + 1, 0, 0
        for panel in row["panels"]:
            stat = panel.get("kind") == "stat"
            width = panel.get("width", 4 if stat else WIDTH)
            height = panel.get("height", STAT_HEIGHT if stat else HEIGHT)
            if left + width > 24:
                top, left, line = top + line, 0, 0
            place = {"x": left, "y": top, "w": width, "h": height}
            drawn.append(draw(panel, board, place, number))
            number, left, line = number + 1, left + width, max(line, height)
        top += line
    return drawn


def choice(name, label, metric):
    query = f"label_values({metric}, {name})"
    return {
        "name": name,
        "label": label,
        "type": "query",
        "datasource": DATASOURCE,
        "definition": query,
        "query": {"query": query, "refId": name},
        "refresh": 2,
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": ["All"], "value": ["$__all"]},
    }


def variables(board):
    chosen = [
        {
            "name": "datasource",
            "label": "Prometheus",
            "type": "datasource",
            "query": "prometheus",
            "current": {"text": "prometheus", "value": "prometheus"},
        },
        choice("instance", "Instance", 'up{job="fleet"}'),
    ]
    if "domain" not in board:
        chosen.append(choice("domain", "Domain", 'http_requests_total{job="fleet",domain!="none"}'))
    return {"list": chosen}


def dashboard(name, board, common):
    rows = [common[row["use"]] | {"title": row.get("title", common[row["use"]]["title"])} if "use" in row else row
            for row in board["rows"]]
    return {
        "uid": name if name.startswith("fleet") else f"fleet-{name}",
        "title": board["title"],
        "description": board.get("help", ""),
        "tags": ["fleet"],
        "schemaVersion": SCHEMA,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "timezone": "browser",
        "templating": variables(board),
        "annotations": {"list": [{
            "name": "Alerts",
            "enable": True,
            "iconColor": "red",
            "datasource": DATASOURCE,
            "expr": 'ALERTS{alertstate="firing",service="fleet"}',
            "titleFormat": "{{alertname}}",
            "tagKeys": "severity",
        }]},
        "links": [{"type": "dashboards", "tags": ["fleet"], "title": "fleet", "asDropdown": True,
                   "includeVars": True, "keepTime": True}],
        "panels": lay_out(rows, board),
    }


def main():
    common = tomllib.loads((PANELS / "common.toml").read_text())
    wrong = []
    for source in sorted(PANELS.glob("*.toml")):
        if source.stem == "common":
            continue
        made = dashboard(source.stem, tomllib.loads(source.read_text()), common)
        text = json.dumps(made, indent=2, ensure_ascii=False) + "\n"
        target = DASHBOARDS / f"{source.stem}.json"
        if "--check" not in sys.argv:
            target.write_text(text)
        elif not target.exists() or target.read_text() != text:
            wrong.append(f"{target.relative_to(ROOT)} is not what its description makes: make dashboards")
    print("\n".join(wrong), file=sys.stderr, end="\n" if wrong else "")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
