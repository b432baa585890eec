"""redis-py as one uses it with a server that stands alone, on a main port of a cluster.

  redis_py_plain.py PORT            every family
  redis_py_plain.py PORT SECONDS    reads and writes for so long; an error that a user sees fails
"""

import sys

sys.dont_write_bytecode = True  # Nothing is left in the source tree.

import redis

from redis_py_load import load

PORT = int(sys.argv[1])


def families(c):
    for number in range(200):
        assert c.set(f"key:{number}", number) is True
    assert c.mget([f"key:{n}" for n in range(200)]) == [str(n) for n in range(200)]
    assert c.mset({f"m:{n}": n for n in range(50)}) is True
    assert c.exists(*[f"m:{n}" for n in range(50)]) == 50
    assert c.delete(*[f"m:{n}" for n in range(50)]) == 50
    with c.pipeline(transaction=False) as pipe:
        for number in range(100):
            pipe.incr(f"count:{number % 10}")
        assert len(pipe.execute()) == 100
    with c.pipeline() as pipe:
        pipe.set("{t}a", 1)
        pipe.incrby("{t}a", 4)
        assert pipe.execute() == [True, 5]
    with c.pipeline() as pipe:
        pipe.watch("{t}a")
        pipe.multi()
        pipe.incr("{t}a")
        assert pipe.execute() == [6]
    assert c.rpush("l", "a", "b") == 2 and c.lpop("l") == "a"
    assert c.hset("h", mapping={"f": 1}) == 1 and c.hgetall("h") == {"f": "1"}
    assert c.zadd("z", {"m": 1.5}) == 1 and c.zscore("z", "m") == 1.5
    assert c.dbsize() >= 200
    assert c.info("server")["server_name"] == "dse"
    assert c.info("cluster")["cluster_enabled"] == 1
    assert c.flushall() is True and c.dbsize() == 0


client = redis.Redis(port=PORT, decode_responses=True)
if len(sys.argv) > 2:
    sys.exit(0 if load(client, float(sys.argv[2])) else 1)
families(client)
families(redis.Redis(port=PORT, decode_responses=True, protocol=3))
print(f"redis-py {redis.__version__} (plain): all is well")
