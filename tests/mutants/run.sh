#!/bin/sh
# Finds the mutants: each patch here puts a bug into a copy of the sources, one that some runtime
# shipped, and the general workload (tests/worlds) has to find it within SEEDS seeds.
#
# Usage: run.sh [NAME...]    by default all; from the root of the repository
set -eu
seeds=${SEEDS:-10000}
# A mutant that makes the process itself spin is found by this.
seconds=${SECONDS_MAX:-900}
here=$(pwd)
copy=${CARGO_TARGET_DIR:-$here/target}/mutants
mkdir -p "$copy/tree"
for entry in Cargo.toml Cargo.lock src tests docs README.md; do
  rm -rf "${copy:?}/tree/$entry"
  cp -R "$here/$entry" "$copy/tree/$entry"
done
patches=$copy/tree/tests/mutants
export CARGO_TARGET_DIR="$copy/target" CARGO_PROFILE_DEV_OPT_LEVEL=1 CARGO_PROFILE_DEV_DEBUG=0
cd "$copy/tree"
rm -rf ../clean
cp -R src ../clean
missed=0
printf '%-45s %s\n' mutant 'seeds until found'
[ $# -gt 0 ] || set -- $(cd "$patches" && ls ./*.patch | sed 's|^\./||; s|\.patch$||')
for name in "$@"; do
  rm -rf src
  cp -R ../clean src
  if ! patch -p1 -s -F0 <"$patches/$name.patch" >"$copy/errors"; then
    outcome='does not apply'
    missed=$((missed + 1))
  elif ! cargo build --quiet --features sim --example sim 2>"$copy/errors"; then
    outcome='does not compile'
    missed=$((missed + 1))
  elif timeout "$seconds" "$CARGO_TARGET_DIR/debug/examples/sim" "$seeds" >"$copy/out" 2>&1; then
    outcome='NOT FOUND'
    missed=$((missed + 1))
  else
    outcome=$(sed -n 's/^failed: .* after \([0-9]*\) seeds$/\1/p' "$copy/out")
    reason=$(sed -n 's/^seed [0-9]* failed after [^:]*: //p' "$copy/out" | cut -c 1-70)
    outcome="${outcome:-the process hangs or ends}  $reason"
  fi
  printf '%-45s %s\n' "$name" "$outcome"
done
[ "$missed" -eq 0 ] || { echo "$missed mutants were not found"; exit 1; }
