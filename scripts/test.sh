#!/usr/bin/env bash
# Installs what the tests need, builds everything and runs all tests through ctest.
#   scripts/test.sh [ctest arguments]      e.g. scripts/test.sh -R tokenizer
# QUORUM_PRESET=release|debug|asan-ubsan|tsan chooses the build (default release). A second run builds nothing.
set -euo pipefail
. "$(dirname "$0")/common.sh"

preset=${QUORUM_PRESET:-release}
install_packages "$ROOT/scripts/packages.txt" "$ROOT/scripts/packages-test.txt"
build "$preset" all

# The official SDKs, for the end-to-end tests, beside the build. Out of reach of the registries those tests are skipped,
# and ctest says so.
python_env "$ROOT/build/e2e-venv" $(package_list "$ROOT/tests/e2e/requirements.txt") ||
  say "no Python SDK (PyPI out of reach?): its end-to-end tests will be skipped"
node_env() {
  local dir=$ROOT/build/e2e-node
  mkdir -p "$dir"
  cmp -s "$ROOT/tests/e2e/package.json" "$dir/package.json" && [ -d "$dir/node_modules/ai" ] && return
  say "installing the Node SDKs into ${dir#"$PWD"/}"
  cp "$ROOT/tests/e2e/package.json" "$dir/"
  (cd "$dir" && npm install --silent --no-audit --no-fund)
}
node_env || say "no Node SDK (npm registry out of reach?): its end-to-end tests will be skipped"

say "running the tests"
cd "$ROOT/build/$preset"
exec ctest --output-on-failure --no-tests=error -j "$(nproc)" "$@"
