"""The measurements of benches/replicated.sh, which says what the arguments are."""

import collections, json, os, signal, statistics, subprocess, sys, time
from nodes import Cluster, Failure, Link, Usage, free_ports

server, etcd_load, work, parts, clients, pipelines, io_threads, rivals, rounds, requests, keys, perf, keep, *options = \
    sys.argv[1:]
numbers = lambda text: [int(word) for word in text.split(",")]
parts, clients, pipelines, rounds, requests, keys = \
    parts.split(","), numbers(clients), numbers(pipelines), int(rounds), int(requests), int(keys)


def machine_switches():
    """Context switches of the whole machine since it started."""
    return next(int(line.split()[1]) for line in open("/proc/stat") if line.startswith("ctxt "))


def preload(port):
    """Every key of `redis-benchmark -r keys` once, with 64 random bytes."""
    with Link(port, timeout=60) as link:
        for first in range(0, keys, 2000):
            batch = [("SET", f"key:{number:012}", os.urandom(64)) for number in range(first, min(first + 2000, keys))]
            link.pipeline(batch)


class Redis:
    """One server that syncs; also what our own and etcd's servers have in common."""

    name = "redis"

    def __enter__(self):
        self.port = free_ports(1)[0]
        os.makedirs(f"{work}/redis", exist_ok=True)
        self.processes = [subprocess.Popen(
            ["redis-server", "--bind", "127.0.0.1", "--port", str(self.port), "--dir", f"{work}/redis", "--save", "",
             "--appendonly", "yes", "--appendfsync", "always"], stdout=subprocess.DEVNULL)]
        wait(lambda: Link(self.port).ask("PING") == "PONG", "redis-server")
        return self

    def __exit__(self, *_):
        for process in self.processes:
            process.kill()
            process.wait()
        subprocess.run(["rm", "-rf", *(f"{work}/{name}" for name in ("redis", "etcd", "ours"))], check=True)

    def pids(self):
        """The process that is asked, and the others."""
        return [process.pid for process in self.processes]

    def preload(self):
        preload(self.port)

    def run(self, command, count, connections, pipeline):
        """Requests a second, p50 and p99 in ms, and the share of the GETs that found a value."""
        hits = self.hits()
        answer = subprocess.run(
            ["redis-benchmark", "-h", "127.0.0.1", "-p", str(self.port), "-t", command, "-n", str(count), "-r",
             str(keys), "-c", str(connections), "-P", str(pipeline), "-d", "64", "--csv"],
            capture_output=True, text=True)
        lines = [line.replace('"', "").split(",") for line in answer.stdout.splitlines()]
        line = next((line for line in lines if line[0] == command.upper()), None)
        if line is None:
            sys.exit(f"redis-benchmark failed against {self.name}: {answer.stdout} {answer.stderr}")
        found, missed = (after - before for after, before in zip(self.hits(), hits))
        return float(line[1]), float(line[4]), float(line[6]), found / max(1, found + missed)

    def hits(self):
        with Link(self.port) as link:
            lines = link.ask("INFO", "stats").decode().splitlines()
        fields = dict(line.split(":", 1) for line in lines if ":" in line)
        return int(fields["keyspace_hits"]), int(fields["keyspace_misses"])

    def check(self):
        """Ends the program if the servers are not what they were at the start."""


class Ours(Redis):
    def __init__(self, threads):
        self.name = f"ours, io-threads {threads}"
        # Every key in memtables, as in benches/redis.sh.
        self.options = ["--memory-budget", "4gb", "--replay-bytes-max", "1gb", *options]
        if threads != "default":
            self.options += ["--io-threads", threads]

    def __enter__(self):
        os.makedirs(f"{work}/ours")
        self.cluster = Cluster(server, f"{work}/ours", self.options).__enter__()
        self.leader, self.term = self.cluster.leader(), self.cluster.in_sync()
        self.port = self.leader.port
        self.processes = [node.process for node in sorted(self.cluster.nodes, key=lambda node: node is not self.leader)]
        return self

    def check(self):
        if self.cluster.in_sync() != self.term:
            sys.exit("another leader was elected")


class Etcd(Redis):
    name = "etcd"

    def __enter__(self):
        ports = free_ports(6)
        peers = ",".join(f"n{at}=http://127.0.0.1:{ports[at]}" for at in range(3))
        self.processes, self.endpoints = [], [f"http://127.0.0.1:{port}" for port in ports[3:]]
        for at, endpoint in enumerate(self.endpoints):
            peer = f"http://127.0.0.1:{ports[at]}"
            os.makedirs(f"{work}/etcd/{at}", mode=0o700)
            log = open(f"{work}/etcd/{at}.log", "w")
            self.processes.append(subprocess.Popen(
                ["etcd", "--name", f"n{at}", "--data-dir", f"{work}/etcd/{at}", "--listen-client-urls", endpoint,
                 "--advertise-client-urls", endpoint, "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
                 "--initial-cluster", peers, "--initial-cluster-state", "new", "--quota-backend-bytes", str(8 << 30),
                 "--logger", "zap"], stdout=log, stderr=log))
        at = wait(self.leader, "a leader of etcd") - 1
        self.endpoint = self.endpoints[at]
        self.processes.insert(0, self.processes.pop(at))
        return self

    def leader(self):
        """The place of the leader, from 1; None as long as there is none."""
        answer = subprocess.run(["etcdctl", "--endpoints", ",".join(self.endpoints), "endpoint", "status", "-w", "json"],
                                env={**os.environ, "ETCDCTL_API": "3"}, capture_output=True, text=True)
        nodes = [node["Status"] for node in json.loads(answer.stdout or "[]")] if answer.returncode == 0 else []
        return next((at + 1 for at, node in enumerate(nodes) if node.get("leader") == node["header"]["member_id"]), None)

    def load(self, command, count, connections, each):
        answer = subprocess.run([etcd_load, self.endpoint, command, str(count), str(keys // 10), str(connections),
                                 str(each), "64"], capture_output=True, text=True)
        if answer.returncode:
            sys.exit(f"etcd-load: {answer.stderr}")
        return [float(word) for word in answer.stdout.split()]

    def preload(self):
        self.load("fill", 0, 50, 16)

    def run(self, command, count, connections, pipeline):
        return self.load({"set": "put", "get": "get"}[command], count, connections, pipeline)


def wait(condition, what):
    for _ in range(1200):
        try:
            if found := condition():
                return found
        except (OSError, Failure):
            pass
        time.sleep(0.05)
    sys.exit(f"waited in vain for {what}")


def measure(system, part, command, connections, pipeline):
    count = requests * (1 if pipeline == 1 else 5)
    count //= 20 if connections == 1 else 5 if system.name == "etcd" else 1
    recorders = []
    if perf and isinstance(system, Ours):
        for pid, role in zip(system.pids(), ("leader", "follower")):
            recorders.append(subprocess.Popen(["perf", "record", "-q", "-g", "-p", str(pid), "-o", f"{perf}-{role}"],
                                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
    before, switches = [Usage(pid) for pid in system.pids()], machine_switches()
    rate, p50, p99, hits = system.run(command, count, connections, pipeline)
    after, switches = [Usage(pid) for pid in system.pids()], machine_switches() - switches
    for recorder in recorders:
        recorder.send_signal(signal.SIGINT)
        recorder.wait()
    system.check()
    cpu = [(b.user - a.user + b.system - a.system) / count for a, b in zip(before, after)]
    nodes = [(b.switches - a.switches) / count for a, b in zip(before, after)]
    figures = [rate, p50, p99, cpu[0], (after[0].user - before[0].user) / count,
               statistics.mean(cpu[1:]) if cpu[1:] else 0, nodes[0], sum(nodes), switches / count, hits]
    line = "\t".join([part, str(connections), str(pipeline), system.name, *(f"{figure:.4f}" for figure in figures),
                      time.strftime("%H:%M:%S")])
    print(line, file=sys.stderr)
    with open(keep, "a") as file:
        print(line, file=file)


def all_measurements(system):
    with system:
        if "one" in parts:
            measure(system, "set", "set", 1, 1)
        if "set" in parts:
            for connections in clients:
                for pipeline in pipelines:
                    measure(system, "set", "set", connections, pipeline)
        if "get" in parts or "one" in parts:
            system.preload()
        if "one" in parts:
            measure(system, "get", "get", 1, 1)
        if "get" in parts:
            for connections in clients:
                for pipeline in pipelines:
                    measure(system, "get", "get", connections, pipeline)


def table():
    """Prints the medians of everything in `keep`; returns what must not be."""
    runs, bad = collections.defaultdict(list), []
    for line in open(keep):
        part, connections, pipeline, name, *figures = line.rstrip("\n").split("\t")
        runs[part, int(connections), int(pipeline), name].append([float(figure) for figure in figures[:10]])
    median = {key: [statistics.median(column) for column in zip(*rows)] for key, rows in runs.items()}
    print("| | c | P | server | runs | requests/s | of Redis | × etcd | p50 ms | p99 ms | CPU µs/op (user) | of a follower "
          "| switches/op | of all nodes | of the machine | hits |")
    print("|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|")
    for (part, connections, pipeline, name), figures in sorted(median.items()):
        rate, p50, p99, cpu, user, follower, switches, nodes, machine, hits = figures
        ratios = []
        for rival in ("redis", "etcd"):
            base = median.get((part, connections, pipeline, rival))
            ratios.append(f"{rate / base[0]:.2f}" if base else "–")
        alone = name == "redis"
        print(f"| {part} | {connections} | {pipeline} | {name} | {len(runs[part, connections, pipeline, name])} "
              f"| {rate:,.0f} | {ratios[0]} | {ratios[1]} | {p50:.2f} | {p99:.2f} | {cpu:.2f} ({user:.2f}) "
              f"| {'–' if alone else f'{follower:.2f}'} | {switches:.3f} | {'–' if alone else f'{nodes:.3f}'} "
              f"| {machine:.3f} | {f'{hits:.4f}' if part == 'get' else '–'} |")
        if part == "get" and hits < 0.99:
            bad.append(f"get of {name}: only {hits:.4f} of the keys were there")
    return bad


systems = [{"redis": Redis, "etcd": Etcd}[name]() for name in rivals.split(",") if name]
systems += [Ours(threads) for threads in io_threads.split(",") if threads]
for number in range(rounds):
    for system in systems if number % 2 == 0 else reversed(systems):
        all_measurements(system)
sys.exit("\n".join(table()) or None)
