#!/usr/bin/env bash
# smoke.sh URL: a round of calls to a server that runs against the stand-ins (config/sandbox.toml), at
# least one to each domain that it serves, some of which write. Ends with 1 at the first answer that is not
# as it should be.
. "$(dirname "$0")/local/lib.sh"

base="${1:?usage: smoke.sh URL}"
called=0
domains="$(curl -fsS --noproxy '*' --max-time 5 "$base/version")"
serves() { [[ "$domains" == *"\"$1\""* ]]; }

# ask STATUS CONTAINS PATH [CURL'S ARGUMENTS]: the answer's body must hold CONTAINS.
ask() {
  local status=$1 contains=$2 path=$3 answer
  shift 3
  answer="$(curl -sS --noproxy '*' --max-time 10 -w '\n%{http_code}' "$base/$path" "$@" \
    -H 'Authorization: Bearer sandbox-all' -H 'X-Park-Id: park-1' -H 'X-Dispatcher-Id: 1' \
    -H 'X-Driver-Profile-Id: 5a28ac97a70cdb350000000000000000' -H 'Content-Type: application/json')"
  [[ "${answer##*$'\n'}" == "$status" && "$answer" == *"$contains"* ]] ||
    die "$path: expected $status with $contains, got: $answer"
  called=$((called + 1))
}

phone="+7 999 $((RANDOM % 900 + 100))-$((RANDOM % 90 + 10))-$((RANDOM % 90 + 10))"

if serves fleet-customers; then
  customers=fleet-customers/dispatcher/v1/customers
  ask 200 personal_phone_id fleet-customers/internal/v1/customers/upsert \
    -d '{"park_id":"park-1","phone":"'"$phone"'","name":"Anna","ordered_at":"2026-01-01T10:00:00Z"}'
  ask 200 personal_phone_id "$customers/find-by-phone" -d '{"phone":"'"$phone"'"}'
  ask 200 items "$customers?limit=3"
fi
if serves fleet-orders-manager; then
  orders=fleet-orders-manager/dispatcher/v1/orders
  ask 200 estimates "$orders/estimate" -d '{"route":[{"lat":55.75,"lon":37.61},{"lat":55.8,"lon":37.5}],"classes":["econom"]}'
  ask 200 orders "$orders/active-by-phone" -d '{"phone":"'"$phone"'"}'
fi
if serves fleet-communications; then
  mailings=fleet-communications/dispatcher/v1/mailings
  ask 200 total "$mailings/preview" -d '{"filter":{"status":"working"}}'
  ask 202 mailing_id "$mailings" \
    -d '{"message":"Good morning, {first_name}!","filter":{"status":"working"},"send_at":"'"$(date -u -d '+1 day' +%FT%TZ)"'"}'
  ask 200 items "$mailings?limit=1"
fi
if serves deptrans-driver-status-integration; then
  deptrans='deptrans-driver-status-integration/internal/v1'
  ask 200 '"accepted":1' "$deptrans/status-events" -d '{"events":[{"park_id":"park-1",
    "driver_id":"5a28ac97a70cdb350000000000000000","status":"online","occurred_at":"'"$(date -u +%FT%TZ)"'","event_id":"1"}]}'
  ask 200 items "$deptrans/drivers/check" \
    -d '{"drivers":[{"park_id":"park-1","driver_id":"5a28ac97a70cdb350000000000000000"}]}'
  ask 200 cursor "$deptrans/status/updates"
fi
if serves scooter-accumulator; then
  scooters=scooter-accumulator/internal/v1
  ask 200 cab- "$scooters/cabinets?near=55.7558,37.6173&radius_m=5000&limit=1"
  ask 200 items "$scooters/accumulators?limit=1"
fi
((called)) || die "$base serves none of the domains: $domains"
say "$called calls were answered as they should be"
