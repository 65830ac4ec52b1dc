#!/usr/bin/env bash
# image-root.sh BINARY FOLDER: what the image holds: the binary, the libraries that it asks for, certificates,
# time zones, and a user who may nothing. No shell, no package manager.
set -euo pipefail

binary="$1" root="$2"
mkdir -p "$root"/{etc/ssl/certs,tmp,usr/local/bin,usr/share,var/lib/dpkg/status.d,var/lib/fleet}
install -m 755 "$binary" "$root/usr/local/bin/fleet"

# The loader and every library, at the places where the loader looks for them.
ldd "$binary" | grep -oE '/[^ ]+' | while read -r library; do
  mkdir -p "$root$(dirname "$library")"
  cp -L "$library" "$root$library"
  # By these files scanners know which of Debian's packages, in which version, are inside.
  package="$(dpkg -S "$library" 2>/dev/null || dpkg -S "/usr$library")"
  dpkg-query -s "${package%%:*}" >"$root/var/lib/dpkg/status.d/${package%%:*}"
done
# The oldest place first: it is what the binary names.
[ -e "$root/lib64" ] || [ ! -e /lib64 ] || mkdir -p "$root/lib64"

cp -L /etc/os-release "$root/etc/os-release"
cp -L /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
cp -R /usr/share/zoneinfo "$root/usr/share/"
rm -rf "$root"/usr/share/zoneinfo/{right,posix}
echo 'fleet:x:10001:10001::/:/usr/local/bin/fleet' >"$root/etc/passwd"
echo 'fleet:x:10001:' >"$root/etc/group"
echo 'hosts: files dns' >"$root/etc/nsswitch.conf"
chmod 1777 "$root/tmp"
