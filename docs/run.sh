#!/bin/sh
# Starts the delayserver on a free port, asks it with two clients, and stops it.
# Usage: run.sh DIRECTORY_OF_THE_BINARIES
set -eu
bin=$1
log=$(mktemp)
"$bin/delayserver" localhost:0 >"$log" &
server=$!
trap 'kill "$server" 2>/dev/null || true; rm -f "$log"' EXIT

address=
while [ -z "$address" ]; do
    kill -0 "$server" || exit 1
    address=$(sed -n 's/^listening on //p' "$log" | head -n 1)
    [ -n "$address" ] || sleep 0.05
done
echo "The delayserver listens on $address."
echo
echo "client-async, async/await on the runtime:"
"$bin/client-async" "$address" 5 300
echo
echo "client-epoll, the same on a bare event loop:"
"$bin/client-epoll" "$address" 5 300
echo
kill -TERM "$server"
wait "$server"
echo "What the delayserver saw, before it stopped cleanly:"
sed -n 's/^#[0-9]/  &/p' "$log"
