"""Three nodes of ours on the loopback, for benches/failover.sh and benches/replicated.sh: starts and ends them, asks
them over RESP, and reads from /proc what they cost."""

import glob, os, signal, socket, subprocess, sys, time

# Whoever ends this program ends what it has started.
signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))


def free_ports(count):
    """Ports that nobody uses; all are held until all are chosen."""
    held = [socket.socket() for _ in range(count)]
    for one in held:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in held]
    for one in held:
        one.close()
    return ports


def encode(*words):
    parts = [word if isinstance(word, bytes) else str(word).encode() for word in words]
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%b\r\n" % (len(part), part) for part in parts)


class Failure(Exception):
    """A reply that is an error."""


class Link:
    """A connection that waits for its replies."""

    def __init__(self, port, timeout=5):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=timeout)
        self.stream = self.socket.makefile("rb")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stream.close()
        self.socket.close()

    def reply(self):
        line = self.stream.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionError("the server closed the connection")
        kind, rest = line[:1], line[1:-2]
        if kind == b"-":
            raise Failure(rest.decode())
        if kind == b"$":
            return None if rest == b"-1" else self.stream.read(int(rest) + 2)[:-2]
        if kind == b"*":
            return [self.reply() for _ in range(int(rest))]
        return int(rest) if kind == b":" else rest.decode()

    def ask(self, *words):
        self.socket.sendall(encode(*words))
        return self.reply()

    def pipeline(self, requests):
        self.socket.sendall(b"".join(encode(*words) for words in requests))
        return [self.reply() for _ in requests]


class Usage:
    """Microseconds of processor and context switches of a process so far."""

    def __init__(self, pid):
        tick = 1e6 / os.sysconf("SC_CLK_TCK")
        fields = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
        self.user, self.system, self.switches = int(fields[11]) * tick, int(fields[12]) * tick, 0
        for path in glob.glob(f"/proc/{pid}/task/*/status"):
            try:
                lines = open(path).read().splitlines()
            except OSError:
                continue  # The thread has ended.
            self.switches += sum(int(line.split()[1]) for line in lines if "voluntary_ctxt" in line)


class Node:
    def __init__(self, number, server, directory, ports, peers, options):
        self.number, self.directory, self.process = number, directory, None
        self.port, self.proxy_port, self.http_port, self.peer_port = ports
        self.log = f"{directory}.log"
        self.words = [server, "--bind", "127.0.0.1", "--port", self.port, "--proxy-port", self.proxy_port,
                      "--http-port", self.http_port, "--peer-port", self.peer_port, "--dir", directory,
                      "--peers", peers, *options]
        self.words = [str(word) for word in self.words]

    @property
    def pid(self):
        return self.process.pid

    def start(self):
        os.makedirs(self.directory, exist_ok=True)
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(self.words, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def ask(self, *words):
        with Link(self.port) as link:
            return link.ask(*words)

    def info(self):
        lines = self.ask("INFO", "everything").decode().splitlines()
        return dict(line.split(":", 1) for line in lines if ":" in line)


class Cluster:
    """Three nodes that have formed a cluster. `with` ends them, whatever happens."""

    def __init__(self, server, work, options=()):
        ports = free_ports(12)
        peers = ",".join(f"127.0.0.1:{ports[4 * at + 3]}" for at in range(3))
        self.nodes = [Node(at + 1, server, f"{work}/node-{at + 1}", ports[4 * at:4 * at + 4], peers, options)
                      for at in range(3)]

    def __enter__(self):
        for node in self.nodes:
            node.start()
        self.leader()
        self.in_sync()
        return self

    def __exit__(self, *_):
        for node in self.nodes:
            if node.process and node.process.poll() is None:
                node.process.kill()
                node.process.wait()

    def wait(self, what, condition, seconds=60):
        """Calls `condition` until it returns something; errors of a node that starts or stops mean: not yet."""
        end, last = time.monotonic() + seconds, None
        while time.monotonic() < end:
            for node in self.nodes:
                if node.process.poll() is not None:
                    tail = open(node.log, errors="replace").read()[-2000:]
                    raise SystemExit(f"node {node.number} has ended with {node.process.returncode}:\n{tail}")
            try:
                if found := condition():
                    return found
            except (OSError, Failure, KeyError) as error:
                last = error
            time.sleep(0.01)
        raise SystemExit(f"waited {seconds} s in vain for {what}; last error: {last}")

    def leader(self):
        """The node that acknowledges a write."""
        def acknowledges():
            for node in self.nodes:
                try:
                    if node.ask("SET", "who-leads", node.number) == "OK":
                        return node
                except (OSError, Failure):
                    pass
        return self.wait("a leader", acknowledges)

    def in_sync(self):
        """Waits until every node has applied what any of them now has in its log; returns the term."""
        target = self.wait("INFO", lambda: max(int(node.info()["raft_last_index"]) for node in self.nodes))
        def applied():
            infos = [node.info() for node in self.nodes]
            if all(int(info["raft_applied_index"]) >= target for info in infos):
                return max(int(info["raft_current_term"]) for info in infos)
        return self.wait("all nodes to be in sync", applied)

    def kill(self):
        """kill -9 of all, at once."""
        for node in self.nodes:
            node.process.send_signal(signal.SIGKILL)
        for node in self.nodes:
            node.process.wait()
