"""The lookup and the upsert of fleet-customers as a minimal FastAPI service with asyncpg: the same statements
on the same table, no tokens, metrics, traces or deadlines. LOOKUP and UPSERT hold the statements."""

import json
import os
from contextlib import asynccontextmanager
from datetime import datetime

import asyncpg
import orjson
from fastapi import FastAPI, Response
from pydantic import BaseModel

# Planned once, as on the server's lanes.
PLANNED = {"plan_cache_mode": "force_generic_plan"}
LOOKUP, UPSERT = os.environ["LOOKUP"], os.environ["UPSERT"]


@asynccontextmanager
async def lifespan(service):
    url = os.environ["DATABASE"]
    async with asyncpg.create_pool(url, min_size=4, max_size=4, server_settings=PLANNED) as pool:
        service.state.pool = pool
        yield


app = FastAPI(lifespan=lifespan)


class Key(BaseModel):
    park_id: str
    personal_phone_id: str


class Keys(BaseModel):
    customers: list[Key]


class Order(Key):
    sms_enabled: bool
    ordered_at: datetime
    order_options: dict


def packed(key):
    return b"\x01" + bytes.fromhex(key)


@app.post("/fleet-customers/internal/v1/customers/retrieve")
async def retrieve(keys: Keys):
    parks = [packed(key.park_id) for key in keys.customers]
    phones = [packed(key.personal_phone_id) for key in keys.customers]
    async with app.state.pool.acquire() as connection:
        found = await connection.fetch(LOOKUP, parks, phones)
    items = [
        {name: value.hex()[2:] if isinstance(value, bytes) else value for name, value in one.items() if value is not None}
        for one in found
    ]
    return Response(orjson.dumps({"items": items}), media_type="application/json")


@app.post("/fleet-customers/internal/v1/customers/upsert")
async def upsert(order: Order):
    async with app.state.pool.acquire() as connection:
        await connection.execute(
            UPSERT, [packed(order.park_id)], [packed(order.personal_phone_id)], [None], [order.sms_enabled],
            [json.dumps(order.order_options)], [order.ordered_at],
        )
    return Response(b"{}", media_type="application/json")
