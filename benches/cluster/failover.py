"""The rounds of benches/failover.sh, which says what the arguments are."""

import math, random, select, signal, socket, sys, time
from nodes import Cluster, Link, encode

server, work, kills, signals, clients, pause, patience, keep, *options = sys.argv[1:]
kills, clients, pause, patience = int(kills), int(clients), int(pause) / 1000, int(patience) / 1000
# For how long a client does not go back to a node that left it waiting, whatever the others say of it.
AVOID, RETRY = 1.0, 0.001
# For how long a node that starts votes for nobody, since it may have promised to: until then another death would be the
# second one at a time, which three nodes do not bear.
PROMISE = 1.0


class Writer:
    """One client: writes `number:0`, `number:1`, ... and repeats each until it is acknowledged."""

    def __init__(self, load, number):
        self.load, self.number, self.node = load, number, load.nodes[number % 3]
        self.acknowledged, self.last = 0, None
        self.link, self.connected, self.waiting_since, self.input = None, False, None, b""
        self.due, self.patience, self.avoided, self.avoided_until = 0.0, patience, None, 0.0

    def key(self, sequence):
        return f"client-{self.number}:{sequence}"

    def close(self):
        if self.link:
            self.load.poll.unregister(self.link)
            del self.load.writers[self.link.fileno()]
            self.link.close()
        self.link, self.connected, self.waiting_since, self.input = None, False, None, b""

    def go(self, node, due):
        self.close()
        self.node, self.due = node, due

    def next_node(self, now):
        after = self.load.nodes[self.node.number % 3]
        if after is self.avoided and now < self.avoided_until:
            after = self.load.nodes[after.number % 3]
        self.go(after, now + RETRY)

    def tick(self, now):
        if self.waiting_since is not None:
            if now - self.waiting_since > self.patience:
                self.patience *= 2
                self.avoided, self.avoided_until = self.node, now + AVOID
                self.next_node(now)
        elif now >= self.due:
            self.write(now)

    def write(self, now):
        self.waiting_since = now
        if self.link is None:
            self.link = socket.socket()
            self.link.setblocking(False)
            self.link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.link.connect_ex(("127.0.0.1", self.node.port))
            self.load.poll.register(self.link, select.EPOLLOUT)
            self.load.writers[self.link.fileno()] = self
        else:
            self.send(now)

    def send(self, now):
        try:
            self.link.send(encode("SET", self.key(self.acknowledged), self.acknowledged))
        except OSError:
            self.next_node(now)

    def ready(self, now):
        if not self.connected:
            if self.link.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                return self.next_node(now)
            self.connected = True
            self.load.poll.modify(self.link, select.EPOLLIN)
            return self.send(now)
        try:
            data = self.link.recv(4096)
        except OSError:
            data = b""
        if not data:
            return self.next_node(now)
        self.input += data
        if not self.input.endswith(b"\r\n"):
            return
        reply, self.input = self.input, b""
        if reply == b"+OK\r\n":
            self.acknowledged += 1
            self.last, self.waiting_since, self.avoided, self.patience = (now, self.node), None, None, patience
            self.due = now + pause
            self.load.acknowledged(self, now)
        elif reply.startswith(b"-MOVED "):
            port = int(reply.split()[2].rsplit(b":", 1)[1])
            leader = next(node for node in self.load.nodes if node.port == port)
            if leader is self.node or leader is self.avoided and now < self.avoided_until:
                self.next_node(now)
            else:
                self.go(leader, now)
        else:
            self.load.refusals.add(reply.split(b" ")[0].decode().strip())
            self.next_node(now)


class Load:
    def __init__(self, cluster):
        self.nodes, self.poll, self.writers = cluster.nodes, select.epoll(), {}
        self.refusals, self.victim, self.first, self.served = set(), None, None, set()
        self.all = [Writer(self, number) for number in range(clients)]

    def acknowledged(self, writer, now):
        if self.victim and writer.node is not self.victim:
            self.first = self.first or now
            self.served.add(writer)

    def turn(self):
        for descriptor, _ in self.poll.poll(0.001):
            if writer := self.writers.get(descriptor):
                writer.ready(time.monotonic())
        now = time.monotonic()
        for writer in self.all:
            writer.tick(now)

    def run(self, until, seconds, what):
        end = time.monotonic() + seconds
        while not until():
            if time.monotonic() > end:
                sys.exit(f"waited {seconds} s in vain for {what}")
            self.turn()

    def run_for(self, seconds):
        end = time.monotonic() + seconds
        self.run(lambda: time.monotonic() >= end, seconds + 60, "the clock")

    def leader(self):
        """The node that acknowledged last."""
        return max((writer.last for writer in self.all if writer.last), key=lambda last: last[0])[1]

    def rest(self):
        """Lets every client have the answer to what it has sent."""
        counts = {writer: writer.acknowledged for writer in self.all}
        self.run(lambda: all(writer.acknowledged > count for writer, count in counts.items()), 60, "answers")
        for writer in self.all:
            writer.close()


def kill_once(load, name):
    """One round: returns milliseconds until the first acknowledgement of another node, and until all clients had one."""
    before = {writer: writer.acknowledged for writer in load.all}
    load.run(lambda: all(writer.acknowledged > before[writer] for writer in load.all), 60, "every client's write")
    load.run_for((0 if name == "STOP" else PROMISE) + random.uniform(0.05, 0.2))
    load.victim, load.first, load.served = load.leader(), None, set()
    victim, start = load.victim, time.monotonic()
    victim.process.send_signal(getattr(signal, f"SIG{name}"))
    load.run(lambda: len(load.served) == clients, 60, f"a leader after {name} of node {victim.number}")
    first, last = (load.first - start) * 1000, (time.monotonic() - start) * 1000
    load.victim = None
    if name == "STOP":
        victim.process.send_signal(signal.SIGCONT)
    else:
        load.run(lambda: victim.process.poll() is not None, 60, f"node {victim.number} to end")
        if name == "TERM" and victim.process.returncode != 0:
            sys.exit(f"node {victim.number} ended with {victim.process.returncode} after SIGTERM")
        victim.start()
    return first, last


def lost(cluster, load):
    """How many acknowledged writes a node lacks, the sum over the nodes."""
    missing = 0
    for node in cluster.nodes:
        with Link(node.port) as link:
            link.ask("READONLY")
            for writer in load.all:
                for begin in range(0, writer.acknowledged, 1000):
                    sequences = range(begin, min(begin + 1000, writer.acknowledged))
                    values = link.pipeline([("GET", writer.key(sequence)) for sequence in sequences])
                    missing += sum(value != str(sequence).encode() for value, sequence in zip(values, sequences))
    return missing


def quantile(times, share):
    return sorted(times)[max(0, math.ceil(share * len(times)) - 1)]


print("| signal | times | p50 ms | p90 | p99 | max | all clients, p50 | p99 | terms | acknowledged | lost |")
print("|---|---|---|---|---|---|---|---|---|---|---|")
failed = False
for name in signals.split(","):
    with Cluster(server, f"{work}/{name}", options) as cluster:
        load, rounds, term = Load(cluster), [], cluster.in_sync()
        for _ in range(kills):
            rounds.append(kill_once(load, name))
            # The clients rest while the node comes back.
            load.rest()
            after = cluster.in_sync()
            if keep:
                with open(keep, "a") as file:
                    print(name, *(f"{ms:.1f}" for ms in rounds[-1]), after, sep="\t", file=file)
        missing = lost(cluster, load)
        failed |= missing > 0
        first, last = zip(*rounds)
        figures = [quantile(first, share) for share in (0.5, 0.9, 0.99, 1)] + [quantile(last, s) for s in (0.5, 0.99)]
        count = sum(writer.acknowledged for writer in load.all)
        print(f"| {name} | {kills} | " + " | ".join(f"{ms:.0f}" for ms in figures)
              + f" | {after - term} | {count:,} | {missing} |", flush=True)
        if load.refusals:
            print(f"refusals besides MOVED: {', '.join(sorted(load.refusals))}", file=sys.stderr)
sys.exit(1 if failed else 0)
