"""Calls of every domain, some of which fail, so that each series of the dashboards has something to show.
For evaluate.py, which has rounds of them made until its queries are answered."""

import datetime
import json
import time
import urllib.error
import urllib.request
import uuid

PARK = "park-1"
DRIVER = "5a28ac97a70cdb35" + "0" * 16
IDENTITY = {
    "Authorization": "Bearer sandbox-all",
    "X-Park-Id": PARK,
    "X-Dispatcher-Id": "1",
    "X-Driver-Profile-Id": DRIVER,
    "Content-Type": "application/json",
}
ROUTE = [{"lat": 55.75, "lon": 37.61}, {"lat": 55.8, "lon": 37.5}]
PATIENCE = 30  # seconds
FLEET = SANDBOX = ""


class Refused(Exception):
    """An answer that was not expected."""


def call(method, url, body=None, expected=(200, 201, 202, 204), **headers):
    """Sends it, and gives what is in the answer. With no `expected`, any answer will do."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, IDENTITY | headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            status, content = answer.status, answer.read()
    except urllib.error.HTTPError as error:
        status, content = error.code, error.read()
    if expected and status not in expected:
        raise Refused(f"{method} {url}: {status} {content.decode()[:300]}")
    return json.loads(content) if content[:1] in (b"{", b"[") else None


def until(what, ask):
    """Asks until the answer is a true one."""
    deadline = time.monotonic() + PATIENCE
    while not (answer := ask()):
        if time.monotonic() > deadline:
            raise Refused(f"in {PATIENCE} s not: {what}")
        time.sleep(0.2)
    return answer


def set_fault(stand_in, kind):
    call("PUT", f"{SANDBOX}/__sandbox/faults/{stand_in}", {"kind": kind})


def clear_fault(stand_in):
    call("DELETE", f"{SANDBOX}/__sandbox/faults/{stand_in}")


def customers(number):
    at = f"{FLEET}/fleet-customers"
    phone = f"+7 999 777-00-{number:02}"
    body = {"park_id": PARK, "phone": phone, "name": "Anna", "sms_enabled": True,
            "ordered_at": "2026-01-01T10:00:00Z"}
    call("POST", f"{at}/internal/v1/customers/upsert", body)
    found = call("POST", f"{at}/dispatcher/v1/customers/find-by-phone", {"phone": phone})
    call("POST", f"{at}/dispatcher/v1/customers/find-by-phone", {"phone": "+7 999 777-99-99"}, (404,))
    call("GET", f"{at}/dispatcher/v1/customers/{found['personal_phone_id']}")
    call("GET", f"{at}/dispatcher/v1/customers?limit=5")
    erasure = {"request_id": str(uuid.uuid4()), "personal_phone_ids": [found["personal_phone_id"]]}
    call("POST", f"{at}/takeout/v1/delete", erasure)


def orders(number):
    at = f"{FLEET}/fleet-orders-manager/dispatcher/v1/orders"
    call("POST", f"{at}/estimate", {"route": ROUTE, "classes": ["econom"]})
    draft = {"phone": f"+7 999 555-00-{number:02}", "route": ROUTE, "classes": ["econom"]}
    order = {"order_id": call("POST", f"{at}/draft", draft, **{"Idempotency-Key": str(uuid.uuid4())})["order_id"]}
    call("POST", f"{at}/commit", order)
    revision = call("GET", f"{at}/{order['order_id']}")["revision"]
    call("POST", f"{at}/edit", order | {"revision": revision, "comment": "gate 3"})
    call("POST", f"{at}/cancel", order | {"reason": "the passenger called"})


def communications(_number):
    at = f"{FLEET}/fleet-communications"
    filters = {"status": "working"}
    call("POST", f"{at}/dispatcher/v1/mailings/preview", {"filter": filters})
    mailing = call("POST", f"{at}/dispatcher/v1/mailings", {"message": "Good morning", "filter": filters})
    one = f"{at}/dispatcher/v1/mailings/{mailing['mailing_id']}"
    until("the mailing is sent", lambda: call("GET", one)["status"] == "sent")
    call("POST", f"{at}/dispatcher/v1/conversations/{DRIVER}/messages", {"text": "Come in, please"})
    call("POST", f"{at}/driver/v1/conversation/messages", {"text": "I come"})
    call("GET", f"{at}/dispatcher/v1/conversations")


def deptrans(number):
    at = f"{FLEET}/deptrans-driver-status-integration"
    call("POST", f"{at}/driver/v1/deptrans-status/v1/id", {"id": "000000000017"}, None)
    driver = {"park_id": PARK, "driver_id": DRIVER}
    call("POST", f"{at}/internal/v1/drivers/check", {"drivers": [driver]})
    now = datetime.datetime.now(datetime.timezone.utc).isoformat()
    event = driver | {"status": ["online", "offline"][number % 2], "occurred_at": now, "event_id": str(number)}
    call("POST", f"{at}/internal/v1/status-events", {"events": [event, driver | {"status": "lost"}]})
    for feed in ("id", "status"):
        follow(f"{at}/internal/v1/{feed}/updates", feed)


CURSORS = {}


def follow(url, feed):
    """Polls a feed up to its end, and keeps the cursor for the next round."""
    while True:
        page = call("GET", url + (f"?cursor={CURSORS[feed]}" if feed in CURSORS else ""))
        CURSORS[feed] = page["cursor"]
        if not page["has_more"]:
            return


def scooters(number):
    at = f"{FLEET}/scooter-accumulator/internal/v1"
    near = call("GET", f"{at}/cabinets?near=55.7558,37.6173&radius_m=20000&available=1&limit=1")
    wanted = {"cabinet_id": near["items"][0]["id"], "contractor_id": f"tech-{number}", "kind": "pickup", "count": 1}
    booking = call("POST", f"{at}/bookings", wanted, (201, 200))
    call("POST", f"{at}/bookings/{booking['id']}/execute", {})
    call("POST", f"{at}/bookings", wanted | {"count": 20}, (409, 422))


def failures(_number):
    """Answers with 5xx, repeated attempts, degraded answers."""
    set_fault("int-api", "close")
    estimate = {"route": ROUTE, "classes": ["econom"]}
    call("POST", f"{FLEET}/fleet-orders-manager/dispatcher/v1/orders/estimate", estimate, (503, 504))
    clear_fault("int-api")


def begin(fleet, sandbox):
    """To be called first."""
    global FLEET, SANDBOX
    FLEET, SANDBOX = fleet, sandbox
    # A mailing to all of the stand-in's 25 000 takes longer than it is worth.
    call("PUT", f"{SANDBOX}/__sandbox/parks/{PARK}", {"drivers": 100})


def round_of_calls(number):
    for domain in (customers, orders, communications, deptrans, scooters, failures):
        domain(number)
