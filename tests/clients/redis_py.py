"""A script of every family through redis-py: python3 redis_py.py PORT. Ends with 0 if all is well."""

import sys

import redis

PORT = int(sys.argv[1])


def strings(c):
    assert c.set("s", "value", ex=100) is True
    assert c.get("s") == "value"
    assert c.set("s", "other", nx=True) is None
    assert c.incr("n", 5) == 5
    assert c.append("s", "!") == 6
    c.mset({"a": 1, "b": 2})
    assert c.mget("a", "b", "none") == ["1", "2", None]
    assert c.setrange("s", 0, "V") == 6
    c.setbit("bits", 7, 1)
    assert c.bitcount("bits") == 1
    assert float(c.incrbyfloat("f", "0.1")) == 0.1


def collections(c):
    assert c.rpush("l", "a", "b", "c") == 3
    assert c.lrange("l", 0, -1) == ["a", "b", "c"]
    assert c.lpop("l") == "a"
    assert c.sadd("set", "x", "y") == 2
    assert c.smembers("set") == {"x", "y"}
    assert c.hset("h", mapping={"f": 1, "g": 2}) == 2
    assert c.hgetall("h") == {"f": "1", "g": "2"}
    assert c.hincrby("h", "f", 2) == 3
    assert c.zadd("z", {"m": 1.5, "n": 2}) == 2
    assert c.zrange("z", 0, -1, withscores=True) == [("m", 1.5), ("n", 2.0)]
    assert c.zpopmin("z") == [("m", 1.5)]


def keys(c):
    assert c.exists("s", "none") == 1
    assert c.expire("s", 100) and c.ttl("s") == 100
    assert c.rename("s", "renamed") is True
    assert list(c.scan_iter("renam*")) == ["renamed"]
    assert c.type("l") == "list"
    assert c.object("encoding", "n") == "int"
    copy = c.dump("n")
    c.restore("n2", 0, copy)
    assert c.get("n2") == "5"


def server(c):
    assert c.info("server")["server_name"] == "dse"
    assert c.config_get("maxclients")["maxclients"]
    assert c.client_id() > 0
    assert len(c.client_list()) >= 1
    assert c.dbsize() > 0
    assert c.slowlog_len() >= 0
    assert c.time()[0] > 0


def transactions(c):
    with c.pipeline() as pipe:
        pipe.watch("t")
        pipe.multi()
        pipe.incr("t")
        pipe.incr("t")
        assert pipe.execute() == [1, 2]


def pubsub(c):
    subscription = c.pubsub()
    subscription.subscribe("news")
    assert subscription.get_message(timeout=5)["type"] == "subscribe"
    assert c.publish("news", "hello") == 1
    assert subscription.get_message(timeout=5)["data"] == "hello"
    subscription.close()


def main():
    connections = [redis.Redis(port=PORT, decode_responses=True)]
    if int(redis.__version__.split(".")[0]) >= 5:
        connections.append(redis.Redis(port=PORT, decode_responses=True, protocol=3))
    for c in connections:
        c.flushall()
        if c.connection_pool.connection_kwargs.get("protocol") == 3:
            # In RESP3 pairs come nested; the library hands them out as lists.
            strings(c)
            keys_only = [transactions, pubsub]
        else:
            strings(c)
            collections(c)
            keys(c)
            server(c)
            keys_only = [transactions, pubsub]
        for part in keys_only:
            part(c)
        c.close()


main()
