#!/usr/bin/env bash
# Starts a cluster of three nodes, pulls nodes out of it, and says what was found. Under two minutes.
#
#   scripts/test_cluster.sh           BIN=... the server, by default it is built; PORT=... the first port
set -euo pipefail
cd "$(dirname "$0")/.."

port=${PORT:-17370}
if [ -z "${BIN:-}" ]; then
  cargo build --release --locked --bin dse-server
  BIN=target/release/dse-server
fi
home=$(mktemp -d)
pids=(0 0 0)
writer=
stop() {
  trap - EXIT INT TERM
  [ -z "$writer" ] || kill "$writer" 2>/dev/null || true
  for pid in "${pids[@]}"; do [ "$pid" = 0 ] || kill -9 "$pid" 2>/dev/null || true; done
  wait 2>/dev/null || true
  rm -rf "$home"
}
trap stop EXIT
trap 'exit 1' INT TERM

fail() {
  echo "FAILED: $1" >&2
  tail -n 3 "$home"/said-* >&2
  exit 1
}
start() {
  local i=$1 peers='' j
  for j in 1 2 3; do
    [ "$j" = "$i" ] || peers+="${peers:+,}node-$j:127.0.0.1:$((port + j - 1))"
  done
  mkdir -p "$home/node-$i"
  "$BIN" --port $((port + i - 1)) --node "node-$i" --data "$home/node-$i" --threads 1 \
    --peers "$peers" >>"$home/said-$i" 2>&1 &
  pids[i - 1]=$!
}
pull() {
  kill -9 "${pids[$1 - 1]}"
  wait "${pids[$1 - 1]}" 2>/dev/null || true
  pids[$1 - 1]=0
}
# ask NODE REQUEST...: the replies to requests, one line each.
ask() {
  local node=$1
  shift
  exec 3<>"/dev/tcp/127.0.0.1/$((port + node - 1))" || return 1
  printf '%s\r\n' "$@" QUIT >&3
  timeout 20 cat <&3 | tr -d '\r' || true
  exec 3>&-
}
# value NODE KEY: the value, once a leader is there.
value() {
  local reply try
  for ((try = 0; try < 30; try++)); do
    reply=$(ask "$1" "GET $2" 2>/dev/null | sed -n 2p)
    [ -z "$reply" ] || [ "$reply" = +OK ] || { echo "$reply"; return; }
    sleep 0.1
  done
}
whole() {
  local node try
  for node in "$@"; do
    for ((try = 0; ; try++)); do
      ask "$node" "CLUSTER INFO" "DBSIZE" 2>/dev/null | grep -q '^:[0-9]' && break
      [ "$try" -lt 150 ] || fail "node $node finds no leaders"
      sleep 0.1
    done
  done
}
# Counts by INCR until the file `stop` is there; notes what was answered last, and what is uncertain.
count() {
  local node=1 reply answered=0 uncertain=0
  while [ ! -e "$home/stop" ]; do
    reply=$(ask "$node" "INCR counter" 2>/dev/null | head -n 1) || reply=
    case $reply in
      :*) answered=$((answered + 1)) ;;
      -TRYAGAIN* | -CLUSTERDOWN* | -LOADING*) ;;
      *) uncertain=$((uncertain + 1)); node=$((node % 3 + 1)) ;;
    esac
    echo "$answered $uncertain" >"$home/counted"
  done
}

for i in 1 2 3; do start "$i"; done
whole 1 2 3
echo "ok   three nodes form a cluster, every group has a leader"

for ((k = 0; k < 100; k++)); do echo "SET key:$k $k"; done >"$home/sets"
mapfile -t sets <"$home/sets"
[ "$(ask 1 "${sets[@]}" | grep -c '^+OK')" = 101 ] || fail "100 keys were not set through one node"
for ((k = 0; k < 100; k += 7)); do
  for node in 1 2 3; do
    [ "$(value "$node" "key:$k")" = "$k" ] || fail "key:$k is not there through node $node"
  done
done
ask 2 "CLUSTER SLOTS" | grep -q '^:16383' || fail "CLUSTER SLOTS does not name the last slot"
echo "ok   routing: any node takes any key"

count &
writer=$!
sleep 1
for victim in 1 2 3; do
  pull "$victim"
  sleep 2.5
  start "$victim"
  whole 1 2 3
  echo "ok   failover and rejoin: node $victim was killed, and is back"
done
touch "$home/stop"
wait "$writer" || true
writer=
read -r answered uncertain <"$home/counted"
[ "$answered" -gt 20 ] || fail "only $answered writes were answered"
for node in 1 2 3; do
  counter=$(value "$node" counter)
  [ "$counter" -ge "$answered" ] || fail "$answered were answered, node $node has $counter"
  [ "$counter" -le $((answered + uncertain)) ] || fail "node $node has $counter: a write was made twice"
done
echo "ok   no loss: $answered counted, $uncertain uncertain, the counter is $counter"

pull 2
sleep 1
for ((k = 0; k < 100; k += 7)); do
  [ "$(value 1 "key:$k")" = "$k" ] || fail "key:$k is gone with node 2"
  [ "$(value 3 "key:$k")" = "$k" ] || fail "key:$k is gone with node 2"
done
echo "ok   replication: everything is there without node 2"
rm -rf "$home/node-2"
start 2
for ((try = 0; ; try++)); do
  grep -q "taken into the cluster" "$home/said-2" && break
  [ "$try" -lt 200 ] || fail "node 2 was not taken in with an empty disk"
  sleep 0.1
done
whole 1 2 3
# It counts when it has everything, which takes a moment.
sleep 6
pull 3
whole 1 2
for ((k = 0; k < 100; k += 7)); do
  [ "$(value 2 "key:$k")" = "$k" ] || fail "key:$k is not on the new disk of node 2"
done
echo "ok   replacement: node 2 lost its disk, was filled again, and stands in for node 3"
echo "PASSED"
