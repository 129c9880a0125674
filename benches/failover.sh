#!/usr/bin/env bash
# How long are writes away when the leader is? Three nodes on this machine, a few clients that write all the time; the
# leader is killed (or stopped, or told to end) again and again, and comes back each time. Measured from the signal to
# the first write that another node acknowledges; at the end every acknowledged write must be on every node.
#
#   cargo build --release && benches/failover.sh          about ten minutes
#   benches/failover.sh --kills 10 --signals KILL
#
#   --kills N            of each signal (100)
#   --signals LIST       KILL, STOP (CONT follows as soon as another leads), TERM                  (KILL,STOP,TERM)
#   --clients N          clients, each with one write under way (8)
#   --pause-ms N         between two writes of a client (4)
#   --patience-ms N      after which a client asks another node, whoever it is waiting for; twice as long each time (20)
#   --server PATH        ours (target/release/sisyphusdb)
#   --option NAME=VALUE  a directive for the nodes, as often as needed
#   --keep FILE          append every single kill to FILE, tab separated
#
# A client follows MOVED at once; after any other refusal, or a broken connection, it asks the next node a millisecond
# later, as long as it takes. Needs python3. Ends non-zero when an acknowledged write is lost.
set -euo pipefail
cd "$(dirname "$0")/.."

kills=100 signals=KILL,STOP,TERM clients=8 pause=4 patience=20 keep='' options=()
server=${CARGO_TARGET_DIR:-target}/release/sisyphusdb
while (($#)); do
  case $1 in
    --kills) kills=$2 ;;
    --signals) signals=$2 ;;
    --clients) clients=$2 ;;
    --pause-ms) pause=$2 ;;
    --patience-ms) patience=$2 ;;
    --server) server=$2 ;;
    --option) options+=("--${2%%=*}" "${2#*=}") ;;
    --keep) keep=$2 ;;
    *) echo "benches/failover.sh: unknown option $1" >&2 ; exit 2 ;;
  esac
  shift 2
done
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

printf '%s, %s cores, Linux %s, %s; %s clients\n\n' "$(date +%F)" "$(nproc)" "$(uname -r)" \
  "$(awk -F': ' '/model name/{print $2; exit}' /proc/cpuinfo)" "$clients"
PYTHONDONTWRITEBYTECODE=1 python3 benches/cluster/failover.py "$server" "$work" "$kills" "$signals" "$clients" "$pause" \
  "$patience" "$keep" "${options[@]}"
