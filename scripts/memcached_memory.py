#!/usr/bin/env python3
"""Resident memory of memcached for each key, through its own protocol (python3, no packages).

  memcached_memory.py PORT PID KEYS VALUE_BYTES

Writes the same keys as `dse-bench memory`: 16 bytes, values of VALUE_BYTES.
"""

import socket
import sys
import time

BATCH = 1000


def rss_bytes(pid):
    with open(f"/proc/{pid}/status") as status:
        for line in status:
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
    return 0


def main():
    port, pid, keys, size = map(int, sys.argv[1:5])
    before = rss_bytes(pid)
    value = b"x" * size
    with socket.create_connection(("127.0.0.1", port)) as stream:
        for first in range(0, keys, BATCH):
            numbers = range(first, min(first + BATCH, keys))
            stream.sendall(b"".join(
                b"set key:%012d 0 0 %d\r\n%s\r\n" % (number, size, value) for number in numbers))
            missing = len(numbers) * len(b"STORED\r\n")
            while missing > 0:
                got = stream.recv(65536)
                if not got or b"ERROR" in got:
                    sys.exit(f"memcached_memory: {got[:100]!r}")
                missing -= len(got)
    time.sleep(1)
    each = (rss_bytes(pid) - before) / keys
    print(f"  memcached  {keys}  {size}  {each:.1f}  {each - 16 - size:.1f}")


if __name__ == "__main__":
    main()
