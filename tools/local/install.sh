#!/usr/bin/env bash
# install.sh NEED...: sees that what a script needs is there; the rest comes from Debian's packages.
# Needs: build, postgres, mosquitto, faketime, java, python, prometheus, shellcheck, wrk, nginx. Nothing is
# installed, and no package list is fetched, where everything is there already.
. "$(dirname "$0")/lib.sh"

missing=()
# want PACKAGE... -- TEST...: notes the packages when the test fails.
want() {
  local packages=()
  while [ "$1" != -- ]; do
    packages+=("$1")
    shift
  done
  shift
  "$@" >/dev/null 2>&1 || missing+=("${packages[@]}")
}

has_postgres() { compgen -G '/usr/lib/postgresql/*/bin/initdb' || command -v initdb; }
has_java() { command -v java && command -v mvn; }
has_mosquitto() { command -v mosquitto || test -x /usr/sbin/mosquitto; }
has_faketime() { compgen -G '/usr/lib/*/faketime/libfaketimeMT.so.1'; }
has_nginx() { command -v nginx || test -x /usr/sbin/nginx; }
has_prometheus() { command -v prometheus && command -v promtool; }
# `import venv` works without python3-venv; what is missing then is ensurepip.
has_venv() { python3 -c 'import ensurepip, venv'; }

for need in "$@"; do
  case $need in
    build)
      command -v cargo >/dev/null ||
        die "cargo not found. Install Rust from https://rustup.rs (the version: rust-version in Cargo.toml), then run this again"
      want build-essential -- command -v cc
      want pkg-config -- command -v pkg-config
      # For librdkafka, which is built with the rest.
      want libssl-dev -- pkg-config --exists openssl
      want curl -- command -v curl
      want ca-certificates -- test -e /etc/ssl/certs/ca-certificates.crt
      want openssl -- command -v openssl
      ;;
    postgres) want postgresql -- has_postgres ;;
    java) want default-jre-headless maven -- has_java ;;
    mosquitto) want mosquitto -- has_mosquitto ;;
    faketime) want libfaketime -- has_faketime ;;
    python) want python3 python3-venv -- has_venv ;;
    prometheus) want prometheus -- has_prometheus ;;
    shellcheck) want shellcheck -- command -v shellcheck ;;
    wrk) want wrk -- command -v wrk ;;
    nginx) want nginx-light -- has_nginx ;;
    *) die "install.sh: unknown need '$need'" ;;
  esac
done

((${#missing[@]})) || exit 0

command -v apt-get >/dev/null ||
  die "missing: ${missing[*]} (Debian's names). This is not a Debian-like system: install them by hand, then run this again"
as_root=()
if ((EUID != 0)); then
  command -v sudo >/dev/null ||
    die "missing: ${missing[*]}. Run 'apt-get install ${missing[*]}' as root (there is no sudo), then run this again"
  as_root=(sudo)
fi

apt() {
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o Dpkg::Use-Pty=0 "$@" \
    </dev/null >>"$LOG/install.log" 2>&1 || {
    tail -n 15 "$LOG/install.log" >&2
    die "apt-get $* failed (see .local/log/install.log)"
  }
}

say "installing ${missing[*]}"
apt update

# Debian's package makes and starts a cluster on 5432 for the whole machine. We run our own and want
# none, but only decide that where we bring the package; a machine that has it keeps its settings.
if [[ " ${missing[*]} " == *" postgresql "* ]] && ! [ -e /etc/postgresql-common/createcluster.conf ]; then
  apt install --no-install-recommends postgresql-common
  "${as_root[@]}" sed -i 's/^#\? *create_main_cluster *=.*/create_main_cluster = false/' \
    /etc/postgresql-common/createcluster.conf
fi
# These packages start a service for the whole machine, where there is systemd.
for service in mosquitto prometheus; do
  if [[ " ${missing[*]} " == *" $service "* ]] && [ -d /run/systemd/system ]; then
    say "keeping the machine's own $service.service off (systemctl unmask $service to have it)"
    "${as_root[@]}" systemctl mask "$service.service" >>"$LOG/install.log" 2>&1 || true
  fi
done
apt install --no-install-recommends "${missing[@]}"
