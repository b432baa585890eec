#!/usr/bin/env bash
# Runs a cluster of N nodes (default 3) on this machine until Ctrl-C, and leaves no process behind.
#
#   scripts/run_cluster.sh [N]
#
#   PORT=6379   the first port for clients; each node also uses its port + 5000 and + 10000
#   DIR=...     where the nodes keep their data; by default a directory that goes at the end
#   BIN=...     the server; by default it is built
set -euo pipefail
cd "$(dirname "$0")/.."

count=${1:-3}
port=${PORT:-6379}
[ "$count" -ge 3 ] || { echo "a cluster has three nodes at least" >&2; exit 2; }
if [ -z "${BIN:-}" ]; then
  cargo build --release --locked --bin dse-server
  BIN=target/release/dse-server
fi
temporary=
if [ -z "${DIR:-}" ]; then
  DIR=$(mktemp -d)
  temporary=$DIR
fi

pids=()
stop() {
  trap - EXIT INT TERM
  [ ${#pids[@]} -eq 0 ] || kill "${pids[@]}" 2>/dev/null || true
  wait
  [ -z "$temporary" ] || rm -rf "$temporary"
}
trap stop EXIT
trap 'exit 0' INT TERM

for ((i = 1; i <= count; i++)); do
  peers=
  for ((j = 1; j <= count; j++)); do
    [ "$j" = "$i" ] || peers+="${peers:+,}node-$j:127.0.0.1:$((port + j - 1))"
  done
  mkdir -p "$DIR/node-$i"
  # A session of its own: Ctrl-C reaches this script, which ends the nodes in order.
  setsid "$BIN" --port $((port + i - 1)) --node "node-$i" --data "$DIR/node-$i" \
    --threads "${THREADS:-1}" --peers "$peers" >>"$DIR/node-$i/said" 2>&1 &
  pids+=($!)
done

ask() {
  exec 3<>"/dev/tcp/127.0.0.1/$1" || return 1
  printf '%s\r\nQUIT\r\n' "$2" >&3
  timeout 2 cat <&3 || true
  exec 3>&-
}
whole() { ask "$1" "CLUSTER INFO" 2>/dev/null | grep -q cluster_state:ok; }

for ((i = 1; i <= count; i++)); do
  for ((try = 0; ; try++)); do
    whole $((port + i - 1)) && break
    kill -0 "${pids[i - 1]}" 2>/dev/null || { cat "$DIR/node-$i/said" >&2; exit 1; }
    [ "$try" -lt 100 ] || { echo "node-$i finds no leaders: $DIR/node-$i/said" >&2; exit 1; }
    sleep 0.2
  done
done

printf '\n%-8s %-8s %-10s %-8s %-8s\n' node port redirect peers pid
for ((i = 1; i <= count; i++)); do
  p=$((port + i - 1))
  printf '%-8s %-8s %-10s %-8s %-8s\n' "node-$i" "$p" $((p + 5000)) $((p + 10000)) "${pids[i - 1]}"
done
cat <<TEXT

Any node takes any key:            redis-cli -p $port set greeting hello
                                   redis-cli -p $((port + 1)) get greeting
Clients that know where keys are:  redis-cli -c -p $((port + 5000))
What the cluster says of itself:   redis-cli -p $port cluster nodes
Pull one out:                      kill -9 ${pids[0]}

The data is in $DIR. Ctrl-C ends all nodes.
TEXT
wait
