"""redis-py's RedisCluster, which knows where keys are.

  redis_py_cluster.py PORT            every family, through the redirect port PORT
  redis_py_cluster.py PORT SECONDS    reads and writes for so long; an error that a user sees fails
"""

import sys

sys.dont_write_bytecode = True  # Nothing is left in the source tree.

import redis
from redis.cluster import RedisCluster

from redis_py_load import load

PORT = int(sys.argv[1])


def families(c):
    for number in range(200):
        assert c.set(f"key:{number}", number) is True
    assert [c.get(f"key:{number}") for number in range(200)] == [str(n) for n in range(200)]
    assert c.mset_nonatomic({f"m:{n}": n for n in range(50)})
    assert c.mget_nonatomic([f"m:{n}" for n in range(50)]) == [str(n) for n in range(50)]
    assert c.delete(*[f"m:{n}" for n in range(50)]) == 50
    with c.pipeline() as pipe:
        for number in range(100):
            pipe.incr(f"count:{number % 10}")
        assert len(pipe.execute()) == 100
    assert c.get("count:3") == "10"
    assert c.rpush("{t}l", "a", "b") == 2 and c.lrange("{t}l", 0, -1) == ["a", "b"]
    assert c.sadd("{t}s", "x", "y") == 2 and c.smembers("{t}s") == {"x", "y"}
    assert c.hset("{t}h", mapping={"f": 1}) == 1 and c.hgetall("{t}h") == {"f": "1"}
    assert c.zadd("{t}z", {"m": 1.5}) == 1 and c.zrange("{t}z", 0, -1) == ["m"]
    assert c.rename("{t}s", "{t}u") is True and c.exists("{t}u", "{t}s") == 1
    assert c.expire("{t}l", 100) and 0 < c.ttl("{t}l") <= 100


def transactions(c):
    with c.pipeline(transaction=True) as pipe:
        pipe.set("{t}a", 1)
        pipe.incrby("{t}a", 4)
        assert pipe.execute()[1] == 5
    with c.pipeline(transaction=True) as pipe:
        pipe.watch("{t}a")
        value = int(pipe.get("{t}a"))
        pipe.multi()
        pipe.set("{t}a", value + 1)
        assert pipe.execute() in ([True], ["OK"])
    assert c.get("{t}a") == "6"


def cluster(c):
    nodes = c.get_primaries()
    assert len(nodes) == 3, nodes
    slots = c.cluster_slots()
    assert sum(last - first + 1 for first, last in slots) == 16384
    assert c.cluster_info(target_nodes=nodes[0])["cluster_state"] == "ok"
    assert len(c.cluster_nodes()) == 3
    assert len(c.cluster_shards(target_nodes=nodes[0])) == 3
    assert c.cluster_keyslot("foo") == 12182
    assert c.cluster_countkeysinslot(12182) >= 0
    assert c.ping(target_nodes=RedisCluster.ALL_NODES)
    assert c.dbsize(target_nodes=nodes[0]) > 0


with RedisCluster(host="127.0.0.1", port=PORT, decode_responses=True) as client:
    if len(sys.argv) > 2:
        sys.exit(0 if load(client, float(sys.argv[2])) else 1)
    families(client)
    transactions(client)
    cluster(client)
with RedisCluster(
    host="127.0.0.1", port=PORT, decode_responses=True, read_from_replicas=True, protocol=3
) as client:
    assert client.get("key:7") == "7"
print(f"redis-py {redis.__version__}: all is well")
