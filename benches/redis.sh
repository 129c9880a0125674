#!/usr/bin/env bash
# Is it as fast as a Redis that syncs? redis-benchmark SET and GET, 64-byte values, 50 connections, against ours and
# against `redis-server --appendonly yes --appendfsync always`, in turns; medians, ratios, CPU and context switches.
#
#   cargo build --release && benches/redis.sh            the whole: about 20 minutes
#   benches/redis.sh --quick                             one round of each: about a minute
#   benches/redis.sh --parts set --pipelines 16 --io-threads default --rounds 1 --rivals no --perf set.data
#
#   --parts LIST       set, get, tables, cold                                  (set,get,tables,cold)
#                      get: every key present, in memtables; tables: every key in tables, cached;
#                      cold: 4 million keys, a budget of 64 MiB, in a memory cgroup of 256 MiB (root, cgroup v1)
#   --pipelines LIST   1,16
#   --io-threads LIST  1,2,default; ours
#   --rounds N         3
#   --requests N       of one measurement at pipeline 1; five times as many at 16  (400000)
#   --rivals yes|no    measure redis-server too (yes)
#   --server PATH      ours (target/release/sisyphusdb)
#   --perf FILE        perf record of our server during the measurements
#   --keep FILE        append every single measurement to FILE, tab separated
#
# Needs redis-server, redis-benchmark and redis-cli 7, python3; ports are free ones of the loopback.
set -euo pipefail
cd "$(dirname "$0")/.."

parts=set,get,tables,cold pipelines=1,16 io_threads=1,2,default rounds=3 requests=400000 rivals=yes
server=${CARGO_TARGET_DIR:-target}/release/sisyphusdb perf='' keep='' keys=1000000 cold_keys=4000000
while (($#)); do
  case $1 in
    --quick) rounds=1 requests=50000 parts=set,get io_threads=default ; shift ; continue ;;
    --parts) parts=$2 ;;
    --pipelines) pipelines=$2 ;;
    --io-threads) io_threads=$2 ;;
    --rounds) rounds=$2 ;;
    --requests) requests=$2 ;;
    --rivals) rivals=$2 ;;
    --server) server=$2 ;;
    --perf) perf=$2 ;;
    --keep) keep=$2 ;;
    --keys) keys=$2 ;;
    --cold-keys) cold_keys=$2 ;;
    *) echo "benches/redis.sh: unknown option $1" >&2 ; exit 2 ;;
  esac
  shift 2
done

work=$(mktemp -d)
results=$work/results.tsv
pid='' group=''
cleanup() {
  [[ -z $pid ]] || { kill "$pid" 2>/dev/null && wait "$pid" 2>/dev/null ; } || true
  [[ -z $group ]] || rmdir "$group" 2>/dev/null || true
  rm -rf "$work"
}
trap cleanup EXIT

wanted() { [[ ,$parts, == *,$1,* ]]; }

free_port() {
  python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

# start NAME COMMAND...: runs a server in the background, sets pid, and waits until it answers PING on $port.
start() {
  local name=$1
  shift
  if [[ -n $group ]]; then
    sh -c 'echo $$ >"$0/cgroup.procs" && exec "$@"' "$group" "$@" >"$work/$name.log" 2>&1 </dev/null &
  else
    "$@" >"$work/$name.log" 2>&1 </dev/null &
  fi
  pid=$!
  for _ in $(seq 600); do
    if [[ $(redis-cli -p "$port" ping 2>/dev/null) == PONG ]]; then return; fi
    kill -0 "$pid" 2>/dev/null || break
    python3 -c 'import time; time.sleep(0.05)'
  done
  echo "benches/redis.sh: $name did not start:" >&2
  tail -20 "$work/$name.log" >&2
  exit 1
}

stop() {
  kill "$pid"
  wait "$pid" 2>/dev/null || true
  pid=''
}

# start_server WHO OPTION...: WHO is redis, or ours:IO_THREADS; the data directory is $work/data, kept if it is there.
start_server() {
  local who=$1
  shift
  port=$(free_port)
  mkdir -p "$work/data"
  if [[ $who == redis ]]; then
    start redis redis-server --bind 127.0.0.1 --port "$port" --dir "$work/data" --save '' \
      --appendonly yes --appendfsync always --daemonize no
  else
    local threads=()
    [[ $who == ours:default ]] || threads=(--io-threads "${who#ours:}")
    start ours "$server" --bind 127.0.0.1 --port "$port" --http-port "$(free_port)" --dir "$work/data" \
      "${threads[@]}" "$@"
  fi
}

fresh() { rm -rf "$work/data"; }

# preload COUNT: writes every key of `redis-benchmark -r COUNT` once, with 64 random bytes.
preload() {
  python3 - "$port" "$1" <<'PY'
import os, socket, sys
port, count, batch = int(sys.argv[1]), int(sys.argv[2]), 2000
link = socket.create_connection(("127.0.0.1", port))
for first in range(0, count, batch):
    numbers = range(first, min(first + batch, count))
    data = os.urandom(64 * len(numbers))
    link.sendall(b"".join(
        b"*3\r\n$3\r\nSET\r\n$16\r\nkey:%012d\r\n$64\r\n%b\r\n" % (n, data[64 * i:64 * i + 64])
        for i, n in enumerate(numbers)))
    wanted = 5 * len(numbers)
    got = b""
    while len(got) < wanted:
        chunk = link.recv(65536)
        if not chunk:
            sys.exit("preload: the server closed the connection")
        got += chunk
        if b"-" in chunk:
            sys.exit("preload: " + got[got.index(b"-"):].split(b"\r\n")[0].decode())
PY
}

# usage: prints user ticks, system ticks, voluntary and involuntary context switches of the server so far.
usage() {
  python3 - "$pid" <<'PY'
import glob, sys
pid = sys.argv[1]
fields = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
switches = [0, 0]
for path in glob.glob(f"/proc/{pid}/task/*/status"):
    for line in open(path):
        if line.startswith("voluntary_ctxt"): switches[0] += int(line.split()[1])
        if line.startswith("nonvoluntary_ctxt"): switches[1] += int(line.split()[1])
print(fields[11], fields[12], *switches)
PY
}

hits() {
  redis-cli -p "$port" info stats | tr -d '\r' | awk -F: '/^keyspace_hits:/{h=$2} /^keyspace_misses:/{m=$2} END{print h+0, m+0}'
}

# measure WHO PART COMMAND PIPELINE KEYS: one redis-benchmark run, one line of results.
measure() {
  local who=$1 part=$2 command=$3 pipeline=$4 range=$5 count=$requests line before after found recorder=''
  ((pipeline == 1)) || count=$((requests * 5))
  before="$(usage) $(hits)"
  if [[ -n $perf && $who == ours:* ]]; then
    perf record -q -g -p "$pid" -o "$perf" >/dev/null 2>&1 &
    recorder=$!
  fi
  line=$(redis-benchmark -h 127.0.0.1 -p "$port" -t "$command" -n "$count" -r "$range" -c 50 -P "$pipeline" -d 64 --csv 2>&1 |
    tr -d '"' | awk -F, -v name="${command^^}" '$1 == name {print $2, $5, $7}')
  [[ -z $recorder ]] || { kill -INT "$recorder" ; wait "$recorder" 2>/dev/null || true ; }
  after="$(usage) $(hits)"
  [[ -n $line ]] || { echo "benches/redis.sh: redis-benchmark failed against $who" >&2 ; exit 1 ; }
  found=$(awk -v b="$before" -v a="$after" -v n="$count" -v tick="$(getconf CLK_TCK)" 'BEGIN {
    split(b, x, " "); split(a, y, " ")
    user = (y[1] - x[1]) / tick * 1e6 / n; all = user + (y[2] - x[2]) / tick * 1e6 / n
    hit = y[5] - x[5]; miss = y[6] - x[6]
    printf "%.3f\t%.3f\t%.3f\t%.4f", user, all, (y[3] - x[3] + y[4] - x[4]) / n, hit + miss ? hit / (hit + miss) : 0 }')
  printf '%s\t%s\t%s\t%s\t%s\t%s\n' "$part" "$pipeline" "$who" "$(tr ' ' '\t' <<<"$line")" "$found" "$(date +%H:%M:%S)" |
    tee -a "$results" >&2
}

each_pipeline() {
  local pipeline
  for pipeline in ${pipelines//,/ }; do measure "$1" "$2" "$3" "$pipeline" "$4"; done
}

# Waits until flushes and compactions have nothing left to do: what they have written stands still for two seconds.
settle() {
  local last='' now still=0
  for _ in $(seq 240); do
    now=$(redis-cli -p "$port" info lsm | grep -E '^lsm_(sealed_memtables|flushed_bytes|compaction_written_bytes)' || true)
    if [[ -n $now && $now == "$last" ]]; then still=$((still + 1)); else still=0; fi
    ((still < 4)) || return 0
    last=$now
    python3 -c 'import time; time.sleep(0.5)'
  done
  echo "benches/redis.sh: compaction does not come to an end" >&2
  exit 1
}

one_server() {
  local who=$1
  if wanted set; then
    fresh ; start_server "$who" ; each_pipeline "$who" set set "$keys" ; stop
  fi
  if wanted get; then
    fresh ; start_server "$who" --memory-budget 4gb --replay-bytes-max 1gb
    preload "$keys" ; each_pipeline "$who" get get "$keys" ; stop
  fi
  if wanted tables && [[ $who != redis ]]; then
    # SAVE writes the memtable out; the reads that follow fill the caches.
    fresh ; start_server "$who" --replay-bytes-max 8mb
    preload "$keys" ; redis-cli -p "$port" save >/dev/null ; settle
    redis-benchmark -p "$port" -t get -n $((keys * 4)) -r "$keys" -c 50 -P 64 -q >/dev/null
    each_pipeline "$who" tables get "$keys" ; stop
  fi
}

cold() {
  local who=$1 limits=/sys/fs/cgroup/memory
  if [[ ! -w $limits/memory.limit_in_bytes && ! -d $limits ]]; then
    echo "benches/redis.sh: cold needs root and cgroup v1 memory at $limits" >&2
    exit 1
  fi
  group=$limits/sisyphusdb-bench-$$
  mkdir -p "$group"
  echo $((256 << 20)) >"$group/memory.limit_in_bytes"
  fresh ; start_server "$who" --memory-budget 64mb
  preload "$cold_keys" ; settle ; each_pipeline "$who" cold get "$cold_keys"
  printf '# cold: largest memory of the cgroup %s bytes, resident %s kB\n' \
    "$(cat "$group/memory.max_usage_in_bytes")" "$(awk '/VmHWM/{print $2}' "/proc/$pid/status")" >&2
  stop
  rmdir "$group"
  group=''
}

servers=()
[[ $rivals == no ]] || servers+=(redis)
for threads in ${io_threads//,/ }; do servers+=("ours:$threads"); done

for round in $(seq "$rounds"); do
  order=("${servers[@]}")
  if ((round % 2 == 0)); then
    order=()
    for who in "${servers[@]}"; do order=("$who" "${order[@]}"); done
  fi
  for who in "${order[@]}"; do one_server "$who"; done
  if wanted cold; then
    for who in "${order[@]}"; do [[ $who == redis ]] || cold "$who"; done
  fi
done

[[ -z $keep ]] || cat "$results" >>"$keep"
printf '\n%s, %s cores, Linux %s, %s, %s; %s rounds\n\n' "$(date +%F)" "$(nproc)" "$(uname -r)" \
  "$(awk -F': ' '/model name/{print $2; exit}' /proc/cpuinfo)" "$(redis-server --version | cut -d' ' -f1-3)" "$rounds"
python3 - "$results" <<'PY'
import collections, statistics, sys
runs = collections.defaultdict(list)
for line in open(sys.argv[1]):
    part, pipeline, who, *figures = line.rstrip("\n").split("\t")
    runs[part, int(pipeline), who].append([float(x) for x in figures[:7]])
median = {key: [statistics.median(column) for column in zip(*rows)] for key, rows in runs.items()}
print("| part | P | server | requests/s | of Redis | p50 ms | p99 ms | CPU µs/op | user µs/op | switches/op | hits |")
print("|---|---|---|---|---|---|---|---|---|---|---|")
bad = []
for (part, pipeline, who), (rate, p50, p99, user, cpu, switches, hit) in sorted(median.items()):
    base = median.get(("get" if part == "tables" else part, pipeline, "redis"))
    ratio = f"{rate / base[0]:.2f}" if base else "–"
    hit_text = f"{hit:.4f}" if part != "set" else "–"
    print(f"| {part} | {pipeline} | {who} | {rate:,.0f} | {ratio} | {p50:.2f} | {p99:.2f} | {cpu:.2f} | {user:.2f} "
          f"| {switches:.3f} | {hit_text} |")
    if part != "set" and hit < 0.99:
        bad.append(f"{part} of {who}: only {hit:.4f} of the keys were there")
sys.exit("\n".join(bad) or None)
PY
