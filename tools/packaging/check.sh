#!/usr/bin/env bash
# `make packaging`: what can be known of the image and the manifests where no container engine runs. The image's
# content is made of the dev build and run without a network's, a shell's or root's help.
. "$(dirname "$0")/../local/lib.sh"

tools/local/install.sh build python
python_tools packaging
bin="$VENV/bin"

[ -z "${WRITE:-}" ] || python3 tools/packaging/kubernetes.py
say "Dockerfile, compose.yaml, deploy/kubernetes"
"$bin/hadolint" Dockerfile
"$bin/check-jsonschema" --builtin-schema vendor.compose-spec compose.yaml
python3 tools/packaging/kubernetes.py --check
find deploy/kubernetes -name '*.yaml' -print0 | while IFS= read -r -d '' file; do
  "$bin/kubernetes-validate" --quiet --strict "$file"
done

cargo build --features sandbox
root="$LOCAL/image"
rm -rf "$root"
tools/packaging/image-root.sh "$FLEET_BIN" "$root"
# Nobody, in the image's root and with nothing of this machine's environment.
inside() {
  local become=("$(command -v chroot)" --userspec=10001:10001 "$root")
  ((EUID == 0)) || become=("$(command -v unshare)" --user --map-root-user --root="$root")
  env -i "$@" "${become[@]}" /usr/local/bin/fleet "${command[@]}"
}
say "the image's content"
command=(--version)
inside
# The configuration of deploy/kubernetes is one, for all domains and for each.
"$bin/python" - "$root" <<'PYTHON'
import sys
import yaml

documents = {one["kind"]: one for one in yaml.safe_load_all(open("deploy/kubernetes/common.yaml", encoding="utf-8"))}
open(f"{sys.argv[1]}/etc/fleet.toml", "w", encoding="utf-8").write(documents["ConfigMap"]["data"]["fleet.toml"])
secrets = {**documents["Secret"]["stringData"], "FLEET__SECRETS__TOKEN_KEY": "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="}
lines = [f"{key}={value or 'filled-in'}\n" for key, value in secrets.items()]
open(f"{sys.argv[1]}/../image.env", "w", encoding="utf-8").writelines(lines)
PYTHON
mapfile -t secrets <"$LOCAL/image.env"
command=(check-config --config /etc/fleet.toml)
inside "${secrets[@]}"
for file in deploy/kubernetes/apart/*.yaml; do
  inside "${secrets[@]}" "FLEET__DOMAINS=$(basename "$file" .yaml)" >/dev/null
done
# Nobody serves here: the probe must say so.
command=(probe)
! inside FLEET__HTTP__LISTEN=127.0.0.1:1 2>/dev/null || die "the probe found a server where there is none"

# Beside the binary, whose size is that of a release and not of this build: libraries, certificates, zones.
beside=$((($(du -sk "$root" | cut -f 1) - $(du -k "$root/usr/local/bin/fleet" | cut -f 1)) / 1024))
say "the image holds $beside MB beside the binary"
((beside <= 20)) || die "the image holds $beside MB beside the binary: at most 20"
