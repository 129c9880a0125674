#!/usr/bin/env bash
# What do three nodes cost? redis-benchmark SET and GET, 64-byte values, against three of ours, in turns with one
# `redis-server --appendonly yes --appendfsync always` and with three of etcd; and how they bear two minutes of writing.
# All on this machine: each processor's time is shared by three nodes and by the program that asks them.
#
#   cargo build --release && benches/replicated.sh        about fifteen minutes, without etcd
#   cargo build --release --manifest-path benches/rivals/etcd/Cargo.toml && benches/replicated.sh --rivals redis,etcd
#   benches/replicated.sh --quick
#   benches/replicated.sh --parts set --clients 50 --pipelines 1 --io-threads default --rounds 1 --rivals '' --perf set
#
#   --parts LIST         set, get (every key present, linearizable), one (SET and GET of one client), sustained  (all)
#   --clients LIST       50,200
#   --pipelines LIST     1,16
#   --io-threads LIST    1,2,default; ours
#   --rivals LIST        redis, etcd (redis)
#   --rounds N           3
#   --requests N         of one measurement at pipeline 1; five times as many at 16; a fifth for etcd (100000)
#   --keys N             1000000; a tenth for etcd, which writes no more than some thousand of them a second
#   --seconds N          of part sustained, and a short run of 5 beside it (120); over --sustained-keys N (20000000)
#   --option NAME=VALUE  a directive for our nodes, as often as needed
#   --server PATH        ours (target/release/sisyphusdb)
#   --load PATH          benches/load (found by cargo)
#   --etcd-load PATH     benches/rivals/etcd (benches/rivals/etcd/target/release/etcd-load)
#   --perf NAME          perf record -g of leader and a follower during the measurements: NAME-leader, NAME-follower
#   --keep FILE          append every measurement to FILE, and print the medians of all that are in it
#
# Needs redis-server, redis-benchmark 7, python3; for etcd Debian's etcd-server. Ends non-zero when anything is lost, the
# nodes differ, or another leader was elected.
set -euo pipefail
cd "$(dirname "$0")/.."

parts=set,get,one,sustained clients=50,200 pipelines=1,16 io_threads=1,2,default rivals=redis rounds=3 requests=100000
keys=1000000 seconds=120 sustained_keys=20000000 options=() perf='' keep='' load=''
server=${CARGO_TARGET_DIR:-target}/release/sisyphusdb etcd_load=benches/rivals/etcd/target/release/etcd-load
while (($#)); do
  case $1 in
    --quick) rounds=1 requests=20000 keys=100000 io_threads=default parts=set,get,one ; shift ; continue ;;
    --parts) parts=$2 ;;
    --clients) clients=$2 ;;
    --pipelines) pipelines=$2 ;;
    --io-threads) io_threads=$2 ;;
    --rivals) rivals=$2 ;;
    --rounds) rounds=$2 ;;
    --requests) requests=$2 ;;
    --keys) keys=$2 ;;
    --seconds) seconds=$2 ;;
    --sustained-keys) sustained_keys=$2 ;;
    --option) options+=("--${2%%=*}" "${2#*=}") ;;
    --server) server=$2 ;;
    --load) load=$2 ;;
    --etcd-load) etcd_load=$2 ;;
    --perf) perf=$2 ;;
    --keep) keep=$2 ;;
    *) echo "benches/replicated.sh: unknown option $1" >&2 ; exit 2 ;;
  esac
  shift 2
done
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
: "${keep:=$work/results.tsv}"

printf '%s, %s cores, Linux %s, %s\n\n' "$(date +%F)" "$(nproc)" "$(uname -r)" \
  "$(awk -F': ' '/model name/{print $2; exit}' /proc/cpuinfo)"
export PYTHONDONTWRITEBYTECODE=1
if [[ ,$parts, == *,set,* || ,$parts, == *,get,* || ,$parts, == *,one,* ]]; then
  python3 benches/cluster/replicated.py "$server" "$etcd_load" "$work" "$parts" "$clients" "$pipelines" "$io_threads" \
    "$rivals" "$rounds" "$requests" "$keys" "$perf" "$keep" "${options[@]}"
fi
if [[ ,$parts, == *,sustained,* ]]; then
  if [[ -z $load ]]; then
    # Benches are built with the planted bugs, the server beside them too: so ours is built after them.
    load=$(cargo bench --no-run --bench load --message-format json 2>/dev/null |
      python3 -c 'import json, sys
for line in sys.stdin:
    made = json.loads(line)
    if made.get("target", {}).get("name") == "load" and made.get("executable"): print(made["executable"])')
    cargo build --release --quiet
  fi
  python3 benches/cluster/sustained.py "$server" "$load" "$work" "$seconds" "$sustained_keys" "${options[@]}"
fi
