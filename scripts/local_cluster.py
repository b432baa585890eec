"""Three nodes of a cluster on this machine, and a small client: what scripts/cluster_clients and
scripts/cluster_figures stand on. Only the standard library."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))


def server():
    """The server's program; built if BIN does not name one."""
    if os.environ.get("BIN"):
        return os.environ["BIN"]
    top = os.path.dirname(HERE)
    build = ["cargo", "build", "--release", "--locked", "--bin", "dse-server"]
    subprocess.run(build, cwd=top, check=True)
    return os.path.join(top, "target/release/dse-server")


def encoded(*words):
    words = [str(word).encode() for word in words]
    parts = [b"$%d\r\n%s\r\n" % (len(word), word) for word in words]
    return b"*%d\r\n" % len(words) + b"".join(parts)


class Client:
    """One connection. Errors are returned as RuntimeError; a lost connection raises OSError."""

    def __init__(self, port, wait=10.0):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=wait)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.file = self.socket.makefile("rb")

    def call(self, *words):
        self.send(*words)
        return self.read()

    def send(self, *words):
        self.send_all([words])

    def send_all(self, requests):
        """One after the other, in one piece."""
        self.socket.sendall(b"".join(encoded(*words) for words in requests))

    def read(self):
        line = self.file.readline()
        if not line.endswith(b"\r\n"):
            raise OSError("the connection was closed")
        kind, rest = line[:1], line[1:-2]
        if kind == b"+":
            return rest.decode()
        if kind == b"-":
            return RuntimeError(rest.decode())
        if kind == b":":
            return int(rest)
        if kind == b"*":
            return [self.read() for _ in range(int(rest))] if int(rest) >= 0 else None
        length = int(rest)
        if length < 0:
            return None
        return self.file.read(length + 2)[:-2].decode()

    def close(self):
        self.file.close()
        self.socket.close()


class Cluster:
    """The nodes; `with Cluster(...) as cluster` leaves no process and no file behind."""

    def __init__(self, port, program=None, flags=(), directory=None, wrapper=()):
        """`wrapper` is put in front of the first node's command."""
        self.port, self.flags, self.wrapper = port, list(flags), list(wrapper)
        self.program = program or server()
        self.home = tempfile.mkdtemp(prefix="dse-cluster-", dir=directory)
        self.nodes = [None, None, None]

    def __enter__(self):
        signal.signal(signal.SIGTERM, lambda *_: exit(1))
        for at in range(3):
            self.start(at)
        self.wait()
        return self

    def __exit__(self, *_):
        for node in self.nodes:
            if node:
                node.kill()
                node.wait()
        shutil.rmtree(self.home, ignore_errors=True)

    def start(self, at):
        peers = [f"node-{i + 1}:127.0.0.1:{self.port + i}" for i in range(3) if i != at]
        data = os.path.join(self.home, f"node-{at + 1}")
        os.makedirs(data, exist_ok=True)
        wrapper = self.wrapper if at == 0 else []
        command = [*wrapper, self.program, "--port", str(self.port + at), "--node", f"node-{at + 1}"]
        command += ["--data", data, "--threads", "1", "--peers", ",".join(peers), *self.flags]
        with open(os.path.join(self.home, f"said-{at + 1}"), "a") as said:
            # A session of its own: Ctrl-C reaches the script, which ends the nodes.
            self.nodes[at] = subprocess.Popen(
                command, stdout=said, stderr=said, stdin=subprocess.DEVNULL, start_new_session=True
            )

    def kill(self, at):
        self.nodes[at].kill()
        self.nodes[at].wait()
        self.nodes[at] = None

    def end(self, at):
        """SIGTERM; the node hands over what it leads."""
        self.nodes[at].terminate()
        self.nodes[at].wait(30)
        self.nodes[at] = None

    def pid(self, at):
        return self.nodes[at].pid

    def said(self, at):
        with open(os.path.join(self.home, f"said-{at + 1}")) as said:
            return said.read()

    def is_whole(self, at):
        try:
            client = Client(self.port + at)
            is_ok = "cluster_state:ok" in str(client.call("CLUSTER", "INFO"))
            is_ok = is_ok and isinstance(client.call("DBSIZE"), int)
            client.close()
            return is_ok
        except OSError:
            return False

    def wait(self, most=60.0):
        """Waits until every node that runs answers for every key."""
        until = time.monotonic() + most
        for at in [at for at in range(3) if self.nodes[at]]:
            while not self.is_whole(at):
                if self.nodes[at].poll() is not None or time.monotonic() > until:
                    raise SystemExit(f"node-{at + 1} is not whole:\n{self.said(at)[-2000:]}")
                time.sleep(0.05)

    def leads(self):
        """How many slots each node leads, as the first one that runs sees it."""
        at = next(at for at in range(3) if self.nodes[at])
        counts = {self.port + 5000 + i: 0 for i in range(3)}
        client = Client(self.port + at)
        for first, last, leader, *_ in client.call("CLUSTER", "SLOTS"):
            counts[leader[1]] += last - first + 1
        client.close()
        return [counts[self.port + 5000 + i] for i in range(3)]

    def wait_for_balance(self, most=60.0):
        """Waits until every node leads about a third."""
        until = time.monotonic() + most
        while min(self.leads()) < 4096:
            if time.monotonic() > until:
                raise SystemExit(f"the lead is not in balance: {self.leads()}")
            time.sleep(0.1)
