#!/usr/bin/env bash
# Builds and runs the three benches that belong to this project, and prints one summary:
#
#   throughput     in process: 6 GET and 2 SET of each 8 operations, 8 threads (and 1, 2)
#   read-compare   in process: our table beside other maps, 1, 2 and 8 threads
#   clients        10,000 and 12,000 real connections, each checking its answers; then 12,000 of
#                  which 1,000 are active, beside idle and beside bad ones, held against bounds
#
#   scripts/benchmark.sh [--quick]
#
# SECONDS_EACH   length of one measurement of throughput (3)
# PARTS          of the three, comma-separated
# PORT           port of the server (7410)
# SERVER_PROGRAM, BENCH_PROGRAM      binaries; built if not given (dse-bench with `bench-peers`)
#
# It ends only the server that it started itself.
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=${SECONDS_EACH:-3}
rounds=5 connections=(10000 12000)
case "${1:-}" in
  "") ;;
  --quick) seconds=1 rounds=3 connections=(2000) ;;
  *) echo "usage: scripts/benchmark.sh [--quick]" >&2; exit 2 ;;
esac
port=${PORT:-7410}

if [ -z "${SERVER_PROGRAM:-}" ] || [ -z "${BENCH_PROGRAM:-}" ]; then
  cargo build --locked --release --features bench-peers --bin dse-server --bin dse-bench
fi
target=${CARGO_TARGET_DIR:-target}/release
server_program=$(realpath "${SERVER_PROGRAM:-$target/dse-server}")
bench=$(realpath "${BENCH_PROGRAM:-$target/dse-bench}")
wanted() { [ -z "${PARTS:-}" ] || [[ ",$PARTS," == *",$1,"* ]]; }

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
: >"$summary"

run_throughput() {
  for threads in 1 2 8; do
    "$bench" throughput --threads "$threads" --time "$seconds" | tee -a "$summary"
  done
}

run_read_compare() {
  for threads in 1 2 8; do
    "$bench" read-compare --keys 100000 --threads "$threads" --rounds "$rounds" --time 0.5 -d 64 |
      tee -a "$summary"
  done
}

start_server() {
  "$server_program" --port "$port" --bind 127.0.0.1 --dir "$scratch" --appendonly no --save "" \
    --maxclients 15000 --loglevel warning &
  server=$!
  for _ in $(seq 100); do
    "$bench" ping -p "$port" >"$scratch/ping" 2>&1 && break
    kill -0 "$server" || { echo "the server has ended" >&2; exit 1; }
    sleep 0.1
  done
  cat "$scratch/ping"
}

stop_server() {
  kill "$server"
  wait "$server" || true
  server=""
}

run_clients() {
  start_server
  for count in "${connections[@]}"; do
    "$bench" clients "$count" -p "$port" -d 64 -q | tee -a "$summary"
  done
  stop_server
  # What an idle connection costs can be seen on a fresh server only.
  start_server
  "$bench" clients "${connections[-1]}" --active $((connections[-1] / 12)) --abuse \
    -p "$port" -d 64 -q | tee -a "$summary"
  stop_server
}

! wanted throughput || run_throughput
! wanted read-compare || run_read_compare
! wanted clients || run_clients

printf '\n== summary\n'
cat "$summary"
