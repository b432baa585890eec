"""Valkey GLIDE's cluster client, which knows where keys are.

  glide_cluster.py PORT            every family, through the redirect port PORT
  glide_cluster.py PORT SECONDS    reads and writes for so long; an error that a user sees fails
"""

import asyncio
import importlib.metadata
import os
import sys
import time

from glide import (
    ClusterBatch,
    GlideClusterClient,
    GlideClusterClientConfiguration,
    NodeAddress,
    SlotKeyRoute,
    SlotType,
)

PORT = int(sys.argv[1])


async def families(c):
    for number in range(200):
        assert await c.set(f"key:{number}", str(number)) == "OK"
    for number in range(200):
        assert await c.get(f"key:{number}") == str(number).encode()
    assert await c.mset({f"m:{n}": str(n) for n in range(50)}) == "OK"
    assert await c.mget([f"m:{n}" for n in range(50)]) == [str(n).encode() for n in range(50)]
    assert await c.delete([f"m:{n}" for n in range(50)]) == 50
    assert await c.rpush("{glide}l", ["a", "b"]) == 2
    assert await c.lrange("{glide}l", 0, -1) == [b"a", b"b"]
    assert await c.sadd("{glide}s", ["x"]) == 1
    assert await c.hset("{glide}h", {"f": "1"}) == 1
    batch = ClusterBatch(is_atomic=True)
    batch.set("{glide}a", "1")
    batch.incrby("{glide}a", 4)
    assert await c.exec(batch, raise_on_error=True) == ["OK", 5]
    assert await c.dbsize() > 0
    route = SlotKeyRoute(SlotType.PRIMARY, "key:1")
    assert b"cluster_state:ok" in await c.custom_command(["CLUSTER", "INFO"], route)


async def load(c, seconds):
    until = time.monotonic() + seconds
    done, errors = 0, []
    while time.monotonic() < until:
        key = f"load:{os.getpid()}:{done % 500}"
        try:
            await c.set(key, str(done))
            assert await c.get(key) == str(done).encode()
        except Exception as error:  # whatever a user would see
            errors.append(f"{type(error).__name__}: {error}")
        done += 1
    print(f"{done} writes and reads, {len(errors)} errors {errors[:3]}")
    return not errors


async def main():
    configuration = GlideClusterClientConfiguration(
        [NodeAddress("127.0.0.1", PORT)], request_timeout=5000
    )
    client = await GlideClusterClient.create(configuration)
    if len(sys.argv) > 2:
        is_well = await load(client, float(sys.argv[2]))
        await client.close()
        sys.exit(0 if is_well else 1)
    await families(client)
    await client.close()
    print(f"valkey-glide {importlib.metadata.version('valkey-glide')}: all is well")


asyncio.run(main())
