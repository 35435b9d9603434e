#!/usr/bin/env bash
# Fuzzes every parser of outside bytes with libFuzzer under the address and undefined-behaviour sanitizers.
#   scripts/fuzz.sh [SECONDS] [NAME...]      each NAME (all; see tests/fuzz/*_fuzz.cc) for SECONDS (60)
# Needs clang-19 and its compiler-rt. What libFuzzer learns stays in build/fuzz/learned/NAME; an input that fails is left in
# build/fuzz/findings and belongs into tests/fuzz/corpus/NAME once it is mended. Exit status 1 if anything failed.
set -euo pipefail
. "$(dirname "$0")/common.sh"

seconds=${1:-60}
[[ $seconds =~ ^[0-9]+$ ]] || die "the first argument is a number of seconds, not '$seconds'"
shift || true
command -v clang++-19 >/dev/null || die "needs clang 19: apt-get install -y --no-install-recommends clang-19 libclang-rt-19-dev"
cd "$ROOT"
if [ $# = 0 ]; then
  for source in tests/fuzz/*_fuzz.cc; do set -- "$@" "$(basename "$source" _fuzz.cc)"; done
fi

say "building ${*/#/fuzz_}"
cmake --preset fuzz >/dev/null
cmake --build --preset fuzz --target "${@/#/fuzz_}"
mkdir -p build/fuzz/findings
failed=()
for name in "$@"; do
  learned=build/fuzz/learned/$name
  mkdir -p "$learned"
  say "$name for $seconds s"
  build/fuzz/tests/fuzz/fuzz_"$name" -max_total_time="$seconds" -timeout=20 -rss_limit_mb=3000 -print_final_stats=1 \
    -artifact_prefix=build/fuzz/findings/"$name"- "$learned" tests/fuzz/corpus/"$name" >"$learned.log" 2>&1 || failed+=("$name")
  grep -E 'number_of_executed_units|SUMMARY|artifact_prefix|ERROR' "$learned.log" || true
done
[ ${#failed[@]} = 0 ] || die "failed: ${failed[*]} (logs in build/fuzz/learned)"
say "nothing found"
