#!/usr/bin/env bash
# `make packaging`: what can be known of the image and the manifests where no container engine runs. The image's
# content is made of the dev build and run without a network's, a shell's or root's help.
. "$(dirname "$0")/../local/lib.sh"

tools/local/install.sh build python prometheus
python_tools packaging
bin="$VENV/bin"

[ -z "${WRITE:-}" ] || python3 tools/packaging/kubernetes.py
say "Dockerfile, compose.yaml, deploy/kubernetes"
"$bin/hadolint" Dockerfile
# The image is built without these targets' folders (.dockerignore); cargo looks for one only if it has no path.
awk '/^\[/ { bare += target; target = /^\[\[(bench|test)\]\]/ } /^path = / { target = 0 } END { exit bare + target > 0 }' \
  Cargo.toml || die "Cargo.toml: a test or bench without its path; the image could not be built"
"$bin/check-jsonschema" --builtin-schema vendor.compose-spec compose.yaml
python3 tools/packaging/kubernetes.py --check
# The operator's kind has no schema here; containers.py looks at what it chooses.
find deploy/kubernetes -name '*.yaml' ! -name podmonitor.yaml -print0 | while IFS= read -r -d '' file; do
  "$bin/kubernetes-validate" --quiet --strict "$file"
done

configured="$LOCAL/packaging"
mkdir -p "$configured"
"$bin/python" tools/packaging/containers.py "$configured"
promtool check config "$configured/prometheus.yml" >/dev/null

binary="${BINARY:-}"
if [ -z "$binary" ]; then
  cargo build --features sandbox
  binary="$FLEET_BIN"
fi
root="$LOCAL/image"
rm -rf "$root"
tools/packaging/image-root.sh "$binary" "$root"
cp "$configured/kubernetes.toml" config/sandbox.toml "$root/etc/"
# inside ARGUMENTS... -- [VARIABLES...]: becomes the binary in the image's root, with nothing of this machine's
# environment: nobody, without rights, and where we are root, with a root that cannot be written.
inside() {
  local arguments=()
  while [ "$1" != -- ]; do
    arguments+=("$1")
    shift
  done
  shift
  if ((EUID != 0)); then
    exec env -i "$@" "$(command -v unshare)" --user --map-root-user --root="$root" /usr/local/bin/fleet "${arguments[@]}"
  fi
  # shellcheck disable=SC2016 # the inner shell's variables
  exec unshare --mount sh -euc '
    root=$1 variables=$2
    shift 2
    mount --bind "$root" "$root"
    mount -o remount,bind,ro "$root"
    # Words, one a variable: none has a space in it.
    exec env -i $variables "$(command -v setpriv)" --clear-groups "$(command -v unshare)" --root="$root" --wd=/ --setgid=10001 --setuid=10001 \
      /usr/local/bin/fleet "$@"
  ' sh "$root" "$*" "${arguments[@]}"
}

say "the configurations of deploy/kubernetes and compose.yaml, in the image's content"
mapfile -t variables <"$configured/kubernetes.env"
(inside check-config --config /etc/kubernetes.toml -- "${variables[@]}")
for file in deploy/kubernetes/apart/*.yaml; do
  (inside check-config --config /etc/kubernetes.toml -- "${variables[@]}" "FLEET__DOMAINS=$(basename "$file" .yaml)") >/dev/null
done
mapfile -t variables <"$configured/compose.env"
(inside check-config --config /etc/sandbox.toml -- "${variables[@]}") >/dev/null

say "a server of the image's content"
listen="FLEET__HTTP__LISTEN=127.0.0.1:$(free_port 18080)"
# Nobody serves yet: the probe must say so.
! (inside probe -- "$listen") 2>/dev/null || die "the probe found a server where there is none"
(inside serve -- "$listen" FLEET__DOMAINS=fleet-orders-manager) >"$LOG/image.log" 2>&1 &
server=$!
trap 'kill -KILL "$server" 2>/dev/null || true' EXIT
fails() {
  tail -n 15 "$LOG/image.log" >&2
  die "$1 (see .local/log/image.log)"
}
deadline=$((SECONDS + 20))
until (inside probe --ready -- "$listen") 2>/dev/null; do
  start_time "$server" >/dev/null || fails "the server in the image's content ended"
  ((SECONDS < deadline)) || fails "the server in the image's content did not become ready"
  sleep 0.2
done
kill -TERM "$server"
wait "$server" || fails "the server in the image's content did not stop in order"

# Beside the binary, whose size is that of a release and not of this build: libraries, certificates, zones.
whole="$(du -sb "$root" | cut -f 1)"
beside=$(((whole - $(stat -c %s "$root/usr/local/bin/fleet")) / 1000000))
say "the image holds $((whole / 1000000)) MB, $beside MB of it beside the binary"
((beside <= 20)) || die "the image holds $beside MB beside the binary: at most 20"
