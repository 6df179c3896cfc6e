#!/usr/bin/env bash
# Runs every test of the workspace and ends with the runner's own summaries, one per test binary.
# Exits as the runner did. Arguments are handed to cargo.
set -uo pipefail
cd "$(dirname "$0")/.."

# Waits are bounds, not pauses: on a busy machine three times as long costs nothing where all is well.
export PATIENCE=${PATIENCE:-3}
mkdir -p .demo
readonly log=.demo/test.log
# Failures of one crate must not hide those of another.
cargo test --workspace --no-fail-fast "$@" 2>&1 | tee "$log"
status=${PIPESTATUS[0]}

echo
echo 'Summary of the test runner:'
grep -E '^test result:' "$log" || echo '(none: no test ran)'
exit "$status"
