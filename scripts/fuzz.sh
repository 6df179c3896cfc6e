#!/usr/bin/env bash
# Feeds hostile input to every parser for some seconds each, and fails on the first input that one cannot stand.
#
#   scripts/fuzz.sh 60          every target, 60 seconds each
#   scripts/fuzz.sh 60 path     that target
#
# Targets, seeds (committed, one small file per idea) and words are in gateway/fuzz. What a run finds worth keeping is
# in gateway/fuzz/target/corpus and is used by the next run; an input that fails is kept in gateway/fuzz/target/crashes.
# Run such an input again with  gateway/fuzz/target/<machine>/debug/<target> <file>.
set -euo pipefail
cd "$(dirname "$0")/../gateway/fuzz"

readonly seconds=${1:-60}
shift || true
[[ $seconds =~ ^[1-9][0-9]*$ ]] || { echo "fuzz: $seconds is not a number of seconds" >&2; exit 2; }
targets=("$@")
(( ${#targets[@]} )) || mapfile -t targets < <(cd fuzz_targets && basename -s .rs -- *.rs)

# What is fuzzed is built with its own flags and its own lock file (.cargo/config.toml here).
unset RUSTFLAGS CARGO_TARGET_DIR CARGO_BUILD_TARGET
cargo build --locked --quiet
bin=target/$(rustc -vV | sed -n 's/^host: //p')/debug

for target in "${targets[@]}"; do
    [[ -x $bin/$target ]] || { echo "fuzz: there is no target $target" >&2; exit 2; }
    mkdir -p "target/corpus/$target" target/crashes
    log=target/$target.log
    # 10 seconds for one input is an endless loop; half a gigabyte is a limit that was forgotten.
    if ! "$bin/$target" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=512 -max_len=2048 -dict="words/$target" \
        -artifact_prefix="target/crashes/$target-" -print_final_stats=1 "target/corpus/$target" "seeds/$target" \
        >"$log" 2>&1; then
        grep -A8 -m1 'panicked at' "$log" | cut -c-2000 >&2 || tail -n 15 "$log" >&2
        input=$(sed -n 's/.*Test unit written to //p' "$log")
        echo "fuzz: $target fails on gateway/fuzz/${input:-?}" >&2
        exit 1
    fi
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    echo "fuzz: $target stood $runs inputs in $seconds s"
done
