"""What schemas cannot say of compose.yaml and deploy/kubernetes. Writes what their containers are configured with
(FOLDER/kubernetes.toml, kubernetes.env, compose.env), for `fleet check-config`, and prometheus.yml, for promtool;
prints every fault that it finds: processes that are killed before they may have stopped, ports that other machines can
reach, what is mounted and is not there, pods that no Prometheus finds under the job that rules and dashboards choose
by."""

import sys
import tomllib
from pathlib import Path

import yaml

# Beside the configured bounds: leave of the MQTT broker, the last traces.
LEAVE_SECONDS = 5
# What rules and dashboards choose by.
JOB = "fleet"
# Placeholders of the Secret that are checked for their form.
FILLED_IN = {"FLEET__SECRETS__TOKEN_KEY": "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="}


def read_toml(*texts):
    """Later ones over earlier ones, as the server lays them."""

    def lay(under, over):
        for key, value in over.items():
            both = isinstance(value, dict) and isinstance(under.get(key), dict)
            under[key] = lay(under[key], value) if both else value
        return under

    merged = {}
    for text in texts:
        lay(merged, tomllib.loads(text))
    return merged


def stop_seconds(text):
    """How long a process with this file may take to stop."""
    config = read_toml(Path("config/default.toml").read_text(encoding="utf-8"), text)
    http = config["http"]
    work = max(http["finish_ms"], config["tasks"]["stop_ms"])
    return (http["drain_ms"] + http["grace_ms"] + work) / 1000 + LEAVE_SECONDS


def write_env(path, variables):
    path.write_text("".join(f"{name}={value}\n" for name, value in variables.items()), encoding="utf-8")


def kubernetes(folder):
    common = Path("deploy/kubernetes/common.yaml").read_text(encoding="utf-8")
    documents = {one["kind"]: one for one in yaml.safe_load_all(common)}
    text = documents["ConfigMap"]["data"]["fleet.toml"]
    (folder / "kubernetes.toml").write_text(text, encoding="utf-8")
    secrets = documents["Secret"]["stringData"]
    write_env(folder / "kubernetes.env", {name: FILLED_IN.get(name, value or "filled-in") for name, value in secrets.items()})
    needed = stop_seconds(text)
    monitor = yaml.safe_load(Path("deploy/kubernetes/podmonitor.yaml").read_text(encoding="utf-8"))["spec"]
    scrape = yaml.safe_load(Path("deploy/prometheus/kubernetes.yml").read_text(encoding="utf-8"))
    for path in sorted(Path("deploy/kubernetes").rglob("*.yaml")):
        for document in yaml.safe_load_all(path.read_text(encoding="utf-8")):
            if document["kind"] == "Deployment":
                given = document["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
                if given < needed:
                    yield f"{path}: killed after {given} s, may take {needed} s to stop"
                yield from (f"{path}: {fault}" for fault in unwatched(document["spec"]["template"], monitor, scrape))
    # Debian's promtool knows nothing of Kubernetes: the rest is for it.
    rules = Path("deploy/prometheus").resolve()
    without = [{key: value for key, value in one.items() if key != "kubernetes_sd_configs"} for one in scrape["scrape_configs"]]
    checked = {"rule_files": [f"{rules}/{one}" for one in scrape["rule_files"]], "scrape_configs": without}
    (folder / "prometheus.yml").write_text(yaml.safe_dump(checked), encoding="utf-8")


def unwatched(pod, monitor, scrape):
    """Why the PodMonitor, or deploy/prometheus/kubernetes.yml, would not find a pod as job="fleet"."""
    labels = pod["metadata"]["labels"]
    ports = {port["name"] for one in pod["spec"]["containers"] for port in one["ports"]}
    if not monitor["selector"]["matchLabels"].items() <= labels.items():
        yield "podmonitor.yaml does not select it"
    if labels.get(monitor["jobLabel"]) != JOB:
        yield f"podmonitor.yaml gives it another job than {JOB}"
    if any(endpoint["port"] not in ports for endpoint in monitor["podMetricsEndpoints"]):
        yield "podmonitor.yaml names a port that it has not"
    configs = scrape["scrape_configs"]
    keep = configs[0]["relabel_configs"][0]["regex"]
    seen = {f"{labels['app.kubernetes.io/part-of']};{port}" for port in ports}
    if [one["job_name"] for one in configs] != [JOB] or keep not in seen:
        yield f"deploy/prometheus/kubernetes.yml does not find it as {JOB}"


def compose(folder):
    document = yaml.safe_load(Path("compose.yaml").read_text(encoding="utf-8"))
    services = document["services"]
    fleet = services["fleet"]
    write_env(folder / "compose.env", fleet["environment"])
    given = int(fleet["stop_grace_period"].removesuffix("s"))
    needed = stop_seconds(Path("config/sandbox.toml").read_text(encoding="utf-8"))
    if given < needed:
        yield f"compose.yaml: fleet is killed after {given} s, may take {needed} s to stop"
    for name, service in services.items():
        for port in service.get("ports", []):
            if not port.startswith("127.0.0.1:"):
                yield f"compose.yaml: {name}: other machines reach {port}"
        for mount in service.get("volumes", []):
            source = mount.split(":")[0]
            there = Path(source).exists() if source.startswith(".") else source in document["volumes"]
            if not there:
                yield f"compose.yaml: {name}: there is no {source}"
        for other in service.get("depends_on", []):
            if other not in services:
                yield f"compose.yaml: {name}: there is no service {other}"


def main():
    folder = Path(sys.argv[1])
    faults = [*kubernetes(folder), *compose(folder)]
    for fault in faults:
        print(f"error: {fault}", file=sys.stderr)
    sys.exit(bool(faults))


main()
