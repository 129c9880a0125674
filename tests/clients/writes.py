"""Writes keys one after the other and prints how many were acknowledged; when its input ends, reads all of them back.

usage: writes.py plain|cluster HOST:PORT...

"plain" is a client that knows no cluster, and asks one node after the other; "cluster" finds the nodes by itself.
"""

import itertools
import sys
import threading
import time

import redis
from redis.cluster import ClusterNode, RedisCluster

TIMEOUT_SECONDS = 2
PATIENCE_SECONDS = 60
kind, *addresses = sys.argv[1:]
nodes = [(host, int(port)) for host, port in (address.rsplit(":", 1) for address in addresses)]
turns = itertools.cycle(nodes)


def connect():
    options = {"socket_timeout": TIMEOUT_SECONDS, "socket_connect_timeout": TIMEOUT_SECONDS}
    if kind == "cluster":
        return RedisCluster(startup_nodes=[ClusterNode(host, port) for host, port in nodes], **options)
    host, port = next(turns)
    return redis.Redis(host=host, port=port, **options)


client = None


def until_done(action):
    """Does what may be done twice, until it is known to be done."""
    global client
    start = time.monotonic()
    while True:
        try:
            if client is None:
                client = connect()
            return action(client)
        except (redis.RedisError, OSError) as error:
            if time.monotonic() - start > PATIENCE_SECONDS:
                raise
            last = f"{type(error).__name__}: {error}"
            if last not in seen:
                seen.add(last)
                print(last, file=sys.stderr)
            client = None
            time.sleep(0.01)


def write(number):
    key = f"{kind}:{number}"
    if kind == "plain" and number % 10 == 0:
        # A transaction with what it watches is one session from its beginning to its end.
        def action(client):
            def swap(pipe):
                pipe.get(key)
                pipe.multi()
                pipe.set(key, number)

            return client.transaction(swap, key)[0]
    else:
        def action(client):
            return client.set(key, number)
    assert until_done(action) is True, key


seen = set()
ended = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
count = 0
while not ended.is_set():
    write(count)
    count += 1
    print(count, flush=True)
for number in range(count):
    found = until_done(lambda client: client.get(f"{kind}:{number}"))
    assert found == str(number).encode(), (number, found)
