"""Part sustained of benches/replicated.sh: SETs at pipeline 16 with incompressible values, 5 seconds, then as long as
asked for; what the three nodes flush and compact meanwhile; then kill -9 of all under load, a restart, and a comparison
of all three with each other and with the ledger of what was acknowledged."""

import json, os, shutil, subprocess, sys, time
from nodes import Cluster, Link

server, load, work, seconds, keys, *options = sys.argv[1:]
# DEBUG DIGEST is how the nodes are compared.
options += ["--enable-debug-command", "local"]
FIELDS = ["raft_log_syncs", "raft_log_bytes_written", "lsm_flushes", "lsm_flushed_bytes", "lsm_compactions",
          "lsm_compaction_written_bytes", "lsm_slowdown_usec", "used_memory_rss"]


def generate(port, *words, **more):
    words = [load, "--port", port, "--keys", keys, "--value-bytes", 64, *words]
    return subprocess.run([str(word) for word in words], text=True, stdout=subprocess.PIPE, **more)


def run(cluster, seconds, *words):
    """Writes for so long; returns the figures of the generator, and ends the program if the leader did not stay."""
    term, leader = cluster.in_sync(), cluster.leader()
    done = generate(leader.port, "--seconds", seconds, "--json", "yes", *words)
    print(done.stdout.strip())
    since = time.monotonic()
    after = cluster.in_sync()
    print(f"leader changes {after - term}; all nodes in sync {(time.monotonic() - since) * 1000:.0f} ms after the end")
    if done.returncode or after != term:
        tell_roles(cluster)
        sys.exit("the load has failed" if after == term else "another leader was elected")
    return leader, json.loads(done.stdout)


def tell_roles(cluster):
    """What the nodes say of elections and of each other, in the order of time."""
    for node in cluster.nodes:
        report([node])
    lines = [(line.split()[0], node.number, line.strip()) for node in cluster.nodes
             for line in open(node.log, errors="replace") if "role" in line or "peer" in line]
    for _, number, line in sorted(lines):
        print(f"node {number}: {line}")


def report(nodes):
    infos = [node.info() for node in nodes]
    for field in FIELDS:
        print(f"| {field} | " + " | ".join(f"{int(info[field]):,}" for info in infos) + " |")


def compare(cluster):
    """DBSIZE and DEBUG DIGEST of each node, which must be the same."""
    seen = []
    for node in cluster.nodes:
        with Link(node.port, timeout=600) as link:
            link.ask("READONLY")
            since = time.monotonic()
            seen.append((link.ask("DBSIZE"), link.ask("DEBUG", "DIGEST")))
            print(f"node {node.number}: DBSIZE {seen[-1][0]:,}, DEBUG DIGEST {seen[-1][1]} "
                  f"after {time.monotonic() - since:.1f} s")
    if len(set(seen)) > 1:
        sys.exit("the nodes differ")


print("== 5 s")
with Cluster(server, f"{work}/short", options) as cluster:
    _, short = run(cluster, 5)
shutil.rmtree(f"{work}/short")

print(f"== {seconds} s")
ledger = f"{work}/ledger"
with Cluster(server, f"{work}/long", options) as cluster:
    leader, long = run(cluster, seconds, "--ledger", ledger)
    print("| | leader | follower | follower |\n|---|---|---|---|")
    report(sorted(cluster.nodes, key=lambda node: node is not leader))
    print(f"sustained / short: median {long['median'] / short['median']:.2f}, mean {long['mean'] / short['mean']:.2f}; "
          f"worst second {long['worst'] / long['median']:.2f} of the median")

    print("== kill -9 of all under load, restart")
    words = [load, "--port", leader.port, "--keys", keys, "--value-bytes", 64, "--seconds", 5, "--ledger", ledger]
    generator = subprocess.Popen([str(word) for word in words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(2)
    cluster.kill()
    generator.wait()
    since = time.monotonic()
    for node in cluster.nodes:
        node.start()
    leader = cluster.leader()
    print(f"a write was acknowledged {(time.monotonic() - since) * 1000:.0f} ms after the start")
    cluster.in_sync()
    # The key that is written to find the leader is not in the ledger.
    leader.ask("DEL", "who-leads")
    cluster.in_sync()
    verified = generate(leader.port, "--ledger", ledger, "--verify", 10000)
    print(verified.stdout.strip())
    if verified.returncode:
        sys.exit("acknowledged writes are lost")
    compare(cluster)
shutil.rmtree(f"{work}/long")
os.remove(ledger)
