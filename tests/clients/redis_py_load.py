"""Reads and writes of a user of redis-py, through whatever client is given."""

import os
import time

import redis


def load(client, seconds):
    """For so long; true if the user saw no error."""
    until = time.monotonic() + seconds
    done, errors = 0, []
    while time.monotonic() < until:
        key = f"load:{os.getpid()}:{done % 500}"
        try:
            client.set(key, done)
            assert client.get(key) == str(done)
        except (redis.RedisError, OSError) as error:
            errors.append(f"{type(error).__name__}: {error}")
        done += 1
    print(f"{done} writes and reads, {len(errors)} errors {errors[:3]}")
    return not errors
