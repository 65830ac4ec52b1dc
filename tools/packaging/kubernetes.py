"""Writes deploy/kubernetes: one deployment for all domains, and one for each (`make packaging`).

They differ in what they serve and need, and in nothing else; so one text makes them all.
Called with --check, it only says whether what is there is what it would write.
"""

import sys
from pathlib import Path
from string import Template

FOLDER = Path("deploy/kubernetes")
# Replicas; memory asked for and at most. What is measured: docs/performance.md; beside it there is room for
# what is under way, and for the caches of a million drivers (140 bytes each, twice while they are loaded).
DOMAINS = {
    "fleet-customers": (2, "96Mi", "256Mi"),
    "fleet-orders-manager": (2, "64Mi", "192Mi"),
    "fleet-communications": (2, "96Mi", "256Mi"),
    "deptrans-driver-status-integration": (2, "384Mi", "768Mi"),
    "scooter-accumulator": (2, "96Mi", "256Mi"),
}
TOGETHER = (3, "512Mi", "1Gi")
HEAD = "# Made by tools/packaging/kubernetes.py; change that.\n"

COMMON = """apiVersion: v1
kind: Namespace
metadata:
  name: fleet
  labels:
    pod-security.kubernetes.io/enforce: restricted
---
apiVersion: v1
kind: ServiceAccount
metadata:
  name: fleet
  namespace: fleet
automountServiceAccountToken: false
---
# What is no secret. Each process reads the sections that its domains need.
apiVersion: v1
kind: ConfigMap
metadata:
  name: fleet
  namespace: fleet
data:
  fleet.toml: |
    [[auth.callers]]
    name = "dispatcher-front"
    token_sha256 = "0000000000000000000000000000000000000000000000000000000000000000" # printf %s TOKEN | sha256sum
    audiences = ["dispatcher"]

    [http]
    # Not one for each of the node's cores: every worker has two connections to PostgreSQL.
    workers = 2
    # As long as it takes until no endpoint slice names the pod any more.
    drain_ms = 5000

    [kafka]
    brokers = "kafka.example:9093"
    security = "sasl_ssl"

    [mqtt]
    url = "mqtts://mqtt.example:8883"

    [upstreams.personal]
    base_url = "https://personal.example"
    [upstreams.int_api]
    base_url = "https://int-api.example"
    [upstreams.fleet_parks]
    base_url = "https://fleet-parks.example"
    [upstreams.parks]
    base_url = "https://parks.example"
    [upstreams.feeds]
    base_url = "https://feeds.example"
    [upstreams.driver_profiles]
    base_url = "https://driver-profiles.example"
    [upstreams.driver_categories]
    base_url = "https://driver-categories-api.example"
    [upstreams.driver_trackstory]
    base_url = "https://driver-trackstory.example"
    [upstreams.krt]
    base_url = "https://krt.example"

    [deptrans_driver_status_integration.directory]
    dump_dir = "/var/lib/fleet"
---
# Who may call: pods with this label in any namespace (auth proxies, other services, Prometheus), and fleet's own.
# Tokens decide what they may do. Whom fleet calls differs with each company: there is no rule for that.
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: fleet
  namespace: fleet
spec:
  podSelector:
    matchLabels: {app.kubernetes.io/part-of: fleet}
  policyTypes: [Ingress]
  ingress:
    - from:
        - namespaceSelector: {}
          podSelector:
            matchLabels: {fleet-client: "true"}
        - podSelector:
            matchLabels: {app.kubernetes.io/part-of: fleet}
      ports:
        - {port: http}
---
# Its shape only: fill it from where your secrets are kept.
apiVersion: v1
kind: Secret
metadata:
  name: fleet
  namespace: fleet
type: Opaque
stringData:
  FLEET__DATABASE__URL: postgres://fleet:PASSWORD@postgres.example:5432/fleet
  FLEET__SECRETS__TOKEN_KEY: "" # openssl rand -base64 32
  FLEET__KAFKA__SASL_USERNAME: fleet
  FLEET__KAFKA__SASL_PASSWORD: ""
  FLEET__MQTT__USERNAME: fleet
  FLEET__MQTT__PASSWORD: ""
  FLEET__UPSTREAMS__PERSONAL__TOKEN: ""
  FLEET__UPSTREAMS__INT_API__TOKEN: ""
  FLEET__UPSTREAMS__FLEET_PARKS__TOKEN: ""
  FLEET__UPSTREAMS__FLEET_CUSTOMERS__TOKEN: ""
  FLEET__UPSTREAMS__PARKS__TOKEN: ""
  FLEET__UPSTREAMS__FEEDS__TOKEN: ""
  FLEET__UPSTREAMS__DRIVER_PROFILES__TOKEN: ""
  FLEET__UPSTREAMS__DRIVER_CATEGORIES__TOKEN: ""
  FLEET__UPSTREAMS__DRIVER_TRACKSTORY__TOKEN: ""
  FLEET__DEPTRANS_DRIVER_STATUS_INTEGRATION__KRT__LOGIN: ""
  FLEET__DEPTRANS_DRIVER_STATUS_INTEGRATION__KRT__PASSWORD: ""
"""

WORKLOAD = """apiVersion: apps/v1
kind: Deployment
metadata:
  name: $name
  namespace: fleet
  labels: {app.kubernetes.io/name: $name, app.kubernetes.io/part-of: fleet}
spec:
  replicas: $replicas
  selector:
    matchLabels: {app.kubernetes.io/name: $name}
  # The schema of the new release serves the one before, too (docs/operations.md, "Migrations").
  strategy:
    rollingUpdate: {maxSurge: 1, maxUnavailable: 0}
  template:
    metadata:
      labels: {app.kubernetes.io/name: $name, app.kubernetes.io/part-of: fleet}
    spec:
      serviceAccountName: fleet
      automountServiceAccountToken: false
      # drain_ms, grace_ms and the longer of finish_ms and tasks.stop_ms together, and some seconds.
      terminationGracePeriodSeconds: 40
      securityContext:
        runAsNonRoot: true
        runAsUser: 10001
        runAsGroup: 10001
        fsGroup: 10001
        seccompProfile: {type: RuntimeDefault}
      topologySpreadConstraints:
        - maxSkew: 1
          topologyKey: kubernetes.io/hostname
          whenUnsatisfiable: ScheduleAnyway
          labelSelector:
            matchLabels: {app.kubernetes.io/name: $name}
$migrating      containers:
        - name: fleet
          image: fleet:0.1.0
          args: [serve, --config, /etc/fleet/fleet.toml]
          env:
            - {name: FLEET__HTTP__LISTEN, value: "0.0.0.0:8080"}
            - {name: FLEET__DATABASE__MIGRATE_AT_START, value: "false"}
$domains          envFrom:
            - secretRef: {name: fleet}
          ports:
            - {name: http, containerPort: 8080}
          startupProbe:
            httpGet: {path: /livez, port: http}
            periodSeconds: 1
            failureThreshold: 30
          livenessProbe:
            httpGet: {path: /livez, port: http}
            periodSeconds: 10
            timeoutSeconds: 5
            failureThreshold: 6
          readinessProbe:
            httpGet: {path: /readyz, port: http}
            periodSeconds: 2
            timeoutSeconds: 2
            failureThreshold: 2
          resources:
            requests: {cpu: 250m, memory: $memory}
            limits: {memory: $most}
$confined          volumeMounts:
            - {name: config, mountPath: /etc/fleet, readOnly: true}
$mounts      volumes:
        - name: config
          configMap: {name: fleet}
$volumes---
apiVersion: v1
kind: Service
metadata:
  name: $name
  namespace: fleet
  labels: {app.kubernetes.io/name: $name, app.kubernetes.io/part-of: fleet}
spec:
  selector: {app.kubernetes.io/name: $name}
  ports:
    - {name: http, port: 80, targetPort: http}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: $name
  namespace: fleet
spec:
  maxUnavailable: 1
  selector:
    matchLabels: {app.kubernetes.io/name: $name}
"""
# For the Prometheus operator. Rules and dashboards choose by job="fleet", which is what part-of says of every pod.
MONITOR = """apiVersion: monitoring.coreos.com/v1
kind: PodMonitor
metadata:
  name: fleet
  namespace: fleet
  labels: {app.kubernetes.io/part-of: fleet}
spec:
  jobLabel: app.kubernetes.io/part-of
  selector:
    matchLabels: {app.kubernetes.io/part-of: fleet}
  podMetricsEndpoints:
    - {port: http, path: /metrics, interval: 15s}
"""
# What a container of ours may do: nothing.
CONFINED = """          securityContext:
            allowPrivilegeEscalation: false
            readOnlyRootFilesystem: true
            capabilities: {drop: [ALL]}
"""
# The dump of drivers' caches outlives a crash of the container, not the pod.
MOUNTS = """            - {name: dump, mountPath: /var/lib/fleet}
"""
VOLUMES = """        - name: dump
          emptyDir: {sizeLimit: 512Mi}
"""
KEEPS_CACHES = (None, "deptrans-driver-status-integration")
# Instances that start at once wait for each other: the migration holds a lock.
MIGRATING = """      initContainers:
        - name: migrate
          image: fleet:0.1.0
          args: [migrate, --config, /etc/fleet/fleet.toml]
          envFrom:
            - secretRef: {name: fleet}
$domains$confined          resources:
            requests: {cpu: 50m, memory: 32Mi}
            limits: {memory: 128Mi}
          volumeMounts:
            - {name: config, mountPath: /etc/fleet, readOnly: true}
"""


def workload(name, size, domain=None):
    one = "            - {name: FLEET__DOMAINS, value: %s}\n" % domain if domain else ""
    if domain and domain == "fleet-orders-manager":
        one += "            - {name: FLEET__UPSTREAMS__FLEET_CUSTOMERS__BASE_URL, value: http://fleet-customers}\n"
    migrating = "" if domain == "fleet-orders-manager" else MIGRATING
    migrating = migrating.replace("$domains", "          env:\n" + one if one else "").replace("$confined", CONFINED)
    replicas, memory, most = size
    text = Template(WORKLOAD).substitute(
        name=name,
        replicas=replicas,
        memory=memory,
        most=most,
        domains=one,
        confined=CONFINED,
        migrating=migrating,
        mounts=MOUNTS if domain in KEEPS_CACHES else "",
        volumes=VOLUMES if domain in KEEPS_CACHES else "",
    )
    return HEAD + text


def files():
    yield FOLDER / "common.yaml", HEAD + COMMON
    yield FOLDER / "podmonitor.yaml", HEAD + MONITOR
    yield FOLDER / "together.yaml", workload("fleet", TOGETHER)
    for domain, size in DOMAINS.items():
        yield FOLDER / "apart" / f"{domain}.yaml", workload(domain, size, domain)


def main():
    stale = []
    for path, text in files():
        if "--check" in sys.argv:
            if not path.is_file() or path.read_text(encoding="utf-8") != text:
                stale.append(str(path))
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    if stale:
        raise SystemExit(f"error: not as tools/packaging/kubernetes.py writes them: {', '.join(stale)}")


main()
