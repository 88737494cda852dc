#!/usr/bin/env bash
# Compares the benchmarks of PKG in the working tree with those at REF, in one
# run on one machine: absolute times on a shared machine say nothing.
set -eu
cd "$(dirname "$0")/.."
ref=${REF:-main} pkg=${PKG:-./...} count=${COUNT:-6} bench=${BENCH:-.}
dir=$(mktemp -d)
trap 'git worktree remove --force "$dir/ref" 2>/dev/null; rm -rf "$dir"' EXIT
git worktree add --detach --quiet "$dir/ref" "$ref"
(cd "$dir/ref" && go test -run '^$' -bench "$bench" -benchmem -count "$count" "$pkg") > "$dir/before.txt" || true
go test -run '^$' -bench "$bench" -benchmem -count "$count" "$pkg" > "$dir/after.txt"
"$BENCHSTAT" "before=$dir/before.txt" "after=$dir/after.txt"
