#!/usr/bin/env bash
# Does it keep its rate, and every acknowledged write? SETs at pipeline 16 over 20 million keys with incompressible
# values, default configuration: 5 seconds, then 120 seconds; how the rate holds, what is flushed and compacted, how
# often it syncs; then kill -9, a restart, and a comparison of 10,000 acknowledged keys and DBSIZE with the ledger.
#
#   cargo build --release && benches/sustained.sh         about five minutes
#   benches/sustained.sh --seconds 20 --keys 2000000
#
#   --seconds N --short N --keys N --value-bytes N        120, 5, 20000000, 64
#   --server PATH --load PATH                             the programs, where they are not in target/
#   --option NAME=VALUE                                   a directive for the server, as often as needed
#
# Needs redis-cli, strace, python3. Ends non-zero when a write is lost, or a count of syncs is not true.
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=120 short=5 keys=20000000 value_bytes=64 server='' load='' options=()
while (($#)); do
  case $1 in
    --seconds) seconds=$2 ;;
    --short) short=$2 ;;
    --keys) keys=$2 ;;
    --value-bytes) value_bytes=$2 ;;
    --server) server=$2 ;;
    --load) load=$2 ;;
    --option) options+=("--${2%%=*}" "${2#*=}") ;;
    *) echo "benches/sustained.sh: unknown option $1" >&2 ; exit 2 ;;
  esac
  shift 2
done
work=$(mktemp -d)
pid=''
cleanup() {
  [[ -z $pid ]] || { kill -9 "$pid" 2>/dev/null && wait "$pid" 2>/dev/null ; } || true
  rm -rf "$work"
}
trap cleanup EXIT

if [[ -z $load ]]; then
  # Benches are built with the planted bugs, the server beside them too: so ours is built after them.
  load=$(cargo bench --no-run --bench load --message-format json 2>/dev/null |
    python3 -c 'import json, sys
for line in sys.stdin:
    made = json.loads(line)
    if made.get("target", {}).get("name") == "load" and made.get("executable"): print(made["executable"])')
fi
if [[ -z $server ]]; then
  cargo build --release --quiet
  server=${CARGO_TARGET_DIR:-target}/release/sisyphusdb
fi

free_port() {
  python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

# start COMMAND...: the server in $work/data, under COMMAND; sets pid and port, prints how long until it was ready.
start() {
  local from
  port=$(free_port)
  from=$(date +%s%N)
  "$@" "$server" --bind 127.0.0.1 --port "$port" --http-port "$(free_port)" --dir "$work/data" "${options[@]}" \
    >>"$work/server.log" 2>&1 </dev/null &
  pid=$!
  until [[ $(redis-cli -p "$port" ping 2>/dev/null) == PONG ]]; do
    kill -0 "$pid" || { tail -20 "$work/server.log" >&2 ; exit 1 ; }
    python3 -c 'import time; time.sleep(0.01)'
  done
  echo "ready after $((($(date +%s%N) - from) / 1000000)) ms"
}

field() { redis-cli -p "$port" info everything | tr -d '\r' | awk -F: -v name="$1" '$1 == name {print $2}'; }

fields() {
  for name in raft_log_syncs raft_log_bytes_written lsm_flushes lsm_flushed_bytes lsm_compactions \
    lsm_compaction_written_bytes lsm_compaction_debt_bytes lsm_slowdown_usec used_memory_rss; do
    printf '  %s %s\n' "$name" "$(field $name)"
  done
}

generate() { "$load" --port "$port" --keys "$keys" --value-bytes "$value_bytes" "$@"; }

printf '%s, %s cores, Linux %s, %s\n' "$(date +%F)" "$(nproc)" "$(uname -r)" \
  "$(awk -F': ' '/model name/{print $2; exit}' /proc/cpuinfo)"

echo "== $short s"
start env
short_json=$(generate --seconds "$short" --json yes)
echo "$short_json"
kill "$pid" ; wait "$pid" || true ; pid='' ; rm -rf "$work/data"

echo "== $seconds s"
start env
long_json=$(generate --seconds "$seconds" --json yes --ledger "$work/ledger")
echo "$long_json"
fields
python3 - "$short_json" "$long_json" <<'PY'
import json, sys
short, long = (json.loads(text) for text in sys.argv[1:])
print(f"sustained / short: median {long['median'] / short['median']:.2f}, mean {long['mean'] / short['mean']:.2f}; "
      f"worst second {long['worst'] / long['median']:.2f} of the median")
PY

echo "== kill -9 under load, restart"
generate --seconds 5 --seed 1 --ledger "$work/ledger" >"$work/killed" 2>&1 &
generator=$!
python3 -c 'import time; time.sleep(2)'
kill -9 "$pid" ; wait "$pid" 2>/dev/null || true ; pid=''
wait "$generator" || true
start env
generate --ledger "$work/ledger" --verify 10000
kill "$pid" ; wait "$pid" || true ; pid='' ; rm -rf "$work/data"

echo "== syncs: our counter beside strace's"
start env
traced=$pid
strace -f -c -e trace=fdatasync,fsync -o "$work/strace" -p "$traced" 2>/dev/null &
tracer=$!
python3 -c 'import time; time.sleep(1)'
before=$(field raft_log_syncs)
generate --seconds "$short" >/dev/null
after=$(field raft_log_syncs)
kill -INT "$tracer" ; wait "$tracer" || true
counted=$((after - before))
traced_syncs=$(awk '$NF == "fdatasync" {print $4}' "$work/strace")
echo "counter $counted, strace ${traced_syncs:-0} (flushes and manifests sync with it too)"
python3 -c "import sys
counted, traced = $counted, ${traced_syncs:-0}
sys.exit(None if traced * 0.99 - 50 <= counted <= traced + 2 else 'the counter of syncs is not true')"
