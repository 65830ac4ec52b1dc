#!/bin/sh
# The broker of compose.yaml: the server is fleet (password: fleet); cabinets are cab-1 (cab-1-secret) to cab-20.
set -eu

umask 077
{
  echo fleet:fleet
  n=1
  while [ "$n" -le 20 ]; do
    echo "cab-$n:cab-$n-secret"
    n=$((n + 1))
  done
} >/tmp/users
mosquitto_passwd -U /tmp/users
cp /fleet/access /tmp/access
chown mosquitto: /tmp/users /tmp/access
exec mosquitto -c /fleet/mosquitto.conf
