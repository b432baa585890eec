#!/usr/bin/env bash
# Measures dse beside redis-server, and beside valkey, keydb, memcached and pogocache where they
# are installed, and beside the floor (a server that does nothing but answer), in one series of
# interleaved rounds. Writes JSON, CSV and an HTML report into benches/record/.
#
#   scripts/compare_redis.sh            the grid: GET SET INCR MSET x P=1,16,64 x c=1,50,1000
#                                       x 64 B, 1 KiB, 16 KiB; pinned and unpinned (hours)
#   scripts/compare_redis.sh --quick    GET and SET x P=1,16,64 x c=50 x 64 B, pinned (minutes)
#   scripts/compare_redis.sh --memory   resident memory for each key as well
#
# ROUNDS (5), SECONDS_EACH (1)     of each cell
# TESTS, PIPELINES, CLIENTS, SIZES, PLACEMENTS     parts of the grid, comma-separated
# PEERS                            comma-separated, out of those found (floor,redis,...)
# REDIS_SERVER, VALKEY_SERVER, KEYDB_SERVER, POGOCACHE, MEMCACHED      paths of binaries
# REDIS_NEW_SERVER                 a second, newer redis-server to be measured beside the first
# KEYS                             keys in use (1,000,000, or what makes 256 MiB of values if fewer)
# SERVER_PROGRAM, BENCH_PROGRAM            binaries; built if not given
# RECORD                           directory of the results (benches/record)
#
# pinned: server on processor 0 with one thread, client on processor 1. unpinned: servers with a
# thread for each processor where they have threads, as many client threads, everything where the
# kernel puts it.
#
# All keep nothing on disk. memcached does not speak the Redis protocol, so only its memory for
# each key is compared (by --memory, through its own protocol).
# It ends only processes that it started itself.
set -euo pipefail
cd "$(dirname "$0")/.."

quick="" memory=""
for word in "$@"; do
  case "$word" in
    --quick) quick=yes ;;
    --memory) memory=yes ;;
    *) echo "usage: scripts/compare_redis.sh [--quick] [--memory]" >&2; exit 2 ;;
  esac
done
if [ -n "$quick" ]; then
  tests=${TESTS:-get,set} pipelines=${PIPELINES:-1,16,64} clients=${CLIENTS:-50}
  sizes=${SIZES:-64} placements=${PLACEMENTS:-pinned} rounds=${ROUNDS:-3}
else
  tests=${TESTS:-get,set,incr,mset} pipelines=${PIPELINES:-1,16,64} clients=${CLIENTS:-1,50,1000}
  sizes=${SIZES:-64,1024,16384} placements=${PLACEMENTS:-pinned,unpinned} rounds=${ROUNDS:-5}
fi
seconds=${SECONDS_EACH:-1}
record=${RECORD:-benches/record}

if [ -z "${SERVER_PROGRAM:-}" ] || [ -z "${BENCH_PROGRAM:-}" ]; then
  cargo build --locked --release --bin dse-server --bin dse-bench
fi
target=${CARGO_TARGET_DIR:-target}/release
dse_server=$(realpath "${SERVER_PROGRAM:-$target/dse-server}")
bench=$(realpath "${BENCH_PROGRAM:-$target/dse-bench}")

scratch=$(mktemp -d)
pids=()
stop_all() {
  for pid in "${pids[@]}"; do
    kill "$pid" 2>/dev/null || true
    wait "$pid" 2>/dev/null || true
  done
  pids=()
}
trap 'stop_all; rm -rf "$scratch"' EXIT

processors=$(nproc)
find_binary() { # NAME VARIABLE
  local given=${!2:-}
  if [ -n "$given" ]; then echo "$given"; else command -v "$1" || true; fi
}
redis=$(find_binary redis-server REDIS_SERVER)
redis_new=${REDIS_NEW_SERVER:-}
valkey=$(find_binary valkey-server VALKEY_SERVER)
keydb=$(find_binary keydb-server KEYDB_SERVER)
pogocache=$(find_binary pogocache POGOCACHE)
memcached=$(find_binary memcached MEMCACHED)

free_port() {
  python3 -c 'import socket
s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}
wanted() { [ -z "${PEERS:-}" ] || [[ ",$PEERS," == *",$1,"* ]]; }

# start NAME COMMAND...: starts a server; "PORT" among its words becomes a free port.
specs=()
start() {
  local name=$1 port words=()
  shift
  wanted "$name" || return 0
  port=$(free_port)
  for word in "$@"; do words+=("${word//PORT/$port}"); done
  mkdir -p "$scratch/$name"
  (cd "$scratch/$name" && exec "${words[@]}" >"$scratch/$name.log" 2>&1) &
  local pid=$!
  pids+=("$pid")
  [ "$name" = memcached ] && { memcached_port=$port memcached_pid=$pid; return 0; }
  for _ in $(seq 100); do
    if "$bench" ping -p "$port" >/dev/null 2>&1; then
      specs+=("127.0.0.1:$port=$name")
      return 0
    fi
    kill -0 "$pid" 2>/dev/null || break
    sleep 0.1
  done
  echo "$name did not start: $(tail -3 "$scratch/$name.log")" >&2
  return 1
}

# start_all PIN THREADS SIZE: every server there is; the base of the ratios first.
start_all() {
  local pin=$1 threads=$2 size=$3 quiet=(--save "" --appendonly no --protected-mode no)
  specs=()
  [ -z "$redis" ] || start redis $pin "$redis" --port PORT --bind 127.0.0.1 "${quiet[@]}"
  [ -z "$redis_new" ] || start redis-new $pin "$redis_new" --port PORT --bind 127.0.0.1 \
    "${quiet[@]}"
  [ -z "$valkey" ] || start valkey $pin "$valkey" --port PORT --bind 127.0.0.1 \
    --io-threads "$threads" "${quiet[@]}"
  [ -z "$keydb" ] || start keydb $pin "$keydb" --port PORT --bind 127.0.0.1 \
    --server-threads "$threads" "${quiet[@]}"
  [ -z "$pogocache" ] || start pogocache $pin "$pogocache" -h 127.0.0.1 -p PORT -t "$threads"
  start dse $pin "$dse_server" --port PORT --bind 127.0.0.1 --dir "$scratch/dse" \
    --threads "$threads" --appendonly no --save "" --loglevel warning
  start floor $pin "$bench" floor -p PORT -d "$size" --threads "$threads"
}

# keys_for SIZE: as many keys as the servers can hold beside each other.
keys_for() {
  local fit=$((256 * 1024 * 1024 / $1))
  echo "${KEYS:-$((fit < 1000000 ? fit : 1000000))}"
}

in_scratch() { (cd "$scratch" && "$@"); }
joined() { local IFS=,; echo "$*"; }

name=$(date -u +%Y-%m-%d)-$(uname -n)-$(git rev-parse --short HEAD)
mkdir -p "$record" "$scratch/json"
record=$(realpath "$record")
parts=()
# measure NAME TESTS SPEC...: one interleaved run over all clients and pipelines.
measure() {
  local part=json/$1.json tests=$2
  shift 2
  # In the scratch directory, so that the command line in the report names no directory.
  in_scratch "$bench" --compare "$(joined "$@")" -t "$tests" -d "$size" -r "$(keys_for "$size")" \
    --sweep "clients=$clients" --sweep "pipeline=$pipelines" --preload --rounds "$rounds" \
    --time "$seconds" --warmup 0.2 "${cpus[@]}" --label "$placement" --json "$part" \
    --title "dse beside its peers"
  parts+=("$part")
}
for placement in ${placements//,/ }; do
  for size in ${sizes//,/ }; do
    pin="" threads=$processors cpus=(--threads "$processors")
    if [ "$placement" = pinned ]; then
      pin="taskset -c 0" threads=1
      cpus=()
      [ "$processors" -eq 1 ] || cpus=(--client-cpus 1)
    fi
    start_all "$pin" "$threads" "$size"
    # pogocache has no MSET; in a run with it every server would lose that test.
    without_mset=$(joined $(printf '%s\n' ${tests//,/ } | grep -vx mset))
    if [ "$without_mset" = "$tests" ] || [[ " ${specs[*]} " != *"=pogocache "* ]]; then
      measure "$placement-$size" "$tests" "${specs[@]}"
    else
      [ -z "$without_mset" ] || measure "$placement-$size" "$without_mset" "${specs[@]}"
      able=()
      for spec in "${specs[@]}"; do [ "${spec#*=}" = pogocache ] || able+=("$spec"); done
      measure "$placement-$size-mset" mset "${able[@]}"
    fi
    stop_all
  done
done

if [ -n "$memory" ]; then
  for size in 8 64 1024; do
    start_all "" "$processors" "$size"
    kept=()
    for spec in "${specs[@]}"; do [ "${spec#*=}" = floor ] || kept+=("$spec"); done
    part=json/memory-$size.json
    in_scratch "$bench" memory --compare "$(joined "${kept[@]}")" --keys 1000000 -d "$size" --json "$part"
    parts+=("$part")
    if [ -n "$memcached" ] && wanted memcached; then
      start memcached "$memcached" -l 127.0.0.1 -p PORT -m 4096 -u nobody
      sleep 0.5
      python3 scripts/memcached_memory.py "$memcached_port" "$memcached_pid" 1000000 "$size"
    fi
    stop_all
  done
fi

in_scratch "$bench" report "${parts[@]}" --json "$record/$name.json" --html "$record/$name.html" \
  --title "dse beside its peers"
echo "written: $record/$name.json and $record/$name.html"
