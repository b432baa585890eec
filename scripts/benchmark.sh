#!/usr/bin/env bash
# Builds and runs the three benches that belong to this project, and prints one summary:
#
#   throughput     in process: 6 GET and 2 SET of each 8 operations, 8 threads (and 1, 2)
#   read-compare   in process: our table beside other maps, 1, 2 and 8 threads
#   clients        10,000 and 12,000 real connections, each checking its answers
#
#   scripts/benchmark.sh [--quick]
#
# SECONDS_EACH   length of one measurement of throughput (3)
# PORT           port of the server (7410)
#
# It ends only the server that it started itself.
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=${SECONDS_EACH:-3}
rounds=5 connections=(10000 12000) keys=(100000)
case "${1:-}" in
  "") ;;
  --quick) seconds=1 rounds=3 connections=(2000) ;;
  *) echo "usage: scripts/benchmark.sh [--quick]" >&2; exit 2 ;;
esac
port=${PORT:-7410}

cargo build --locked --release --features bench-peers --bin dse-server --bin dse-bench
target=${CARGO_TARGET_DIR:-target}/release

scratch=$(mktemp -d)
server=""
cleanup() {
  if [ -n "$server" ]; then
    kill "$server" 2>/dev/null || true
    wait "$server" 2>/dev/null || true
  fi
  rm -rf "$scratch"
}
trap cleanup EXIT

summary=$scratch/summary
say() { echo "$*" | tee -a "$summary"; }

for threads in 1 2 8; do
  "$target/dse-bench" throughput --threads "$threads" --time "$seconds" | tee -a "$summary"
done

for count in "${keys[@]}"; do
  for threads in 1 2 8; do
    "$target/dse-bench" read-compare --keys "$count" --threads "$threads" --rounds "$rounds" \
      --time 0.5 -d 64 | tee -a "$summary"
  done
done

"$target/dse-server" --port "$port" --bind 127.0.0.1 --dir "$scratch" --appendonly no --save "" \
  --maxclients 15000 --loglevel warning &
server=$!
for _ in $(seq 100); do
  "$target/dse-bench" ping -p "$port" >"$scratch/ping" 2>&1 && break
  kill -0 "$server" || { echo "the server has ended" >&2; exit 1; }
  sleep 0.1
done
cat "$scratch/ping"

for count in "${connections[@]}"; do
  "$target/dse-bench" clients "$count" -p "$port" -d 64 -q | tee -a "$summary"
done
"$target/dse-bench" clients "${connections[-1]}" --active $((connections[-1] / 12)) -n 50000 \
  -p "$port" -d 64 -q | tee -a "$summary"

printf '\n== summary\n'
cat "$summary"
