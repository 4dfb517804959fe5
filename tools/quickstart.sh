#!/usr/bin/env bash
# Sets up, builds, and does the whole job once: prints a plan, prepares text that every Debian and
# Ubuntu has, trains a small LLaMA on it for 300 iterations and lets it write a few words.
#
# A new build folder is built for CPUs on a machine without a GPU; ISOFLOP_CUDA=ON builds for GPUs
# all the same. Later tools/test.sh and tools/check.sh use what was built here.
set -euo pipefail
source "$(dirname -- "${BASH_SOURCE[0]}")/common.sh"

if [[ ${1:-} == --help || ${1:-} == -h ]]; then print_help && exit 0; fi

work=build/quickstart
text=/usr/share/common-licenses

# show COMMAND...: prints the command, then runs it.
show() {
    printf '\n$ %s\n' "$*"
    "$@"
}

# Only results go to the standard output.
{
    tools/setup.sh
    configure_release -DISOFLOP_BUILD_TESTS=OFF -DISOFLOP_BUILD_BENCHMARKS=OFF
    cmake --build --preset release --target scaling-plan train
} >&2

show build/release/tools/scaling-plan backward configs/plan/auto.jsonc

rm -rf -- "$work"
mkdir -p -- "$work"
dataset=builtin
if [[ -d $text ]]; then
    dataset=$work/data
    show build/release/tools/train prepare-data --input "$text" --tokenizer byte --val-fraction 0.1 --out "$dataset"
fi
show build/release/tools/train configs/train/arch_llama.jsonc --dataset="$dataset" --out_dir="$work/out" \
    --run_name=llama --max_iters=300 --log_interval=50 --gradient_log_interval=0
show build/release/tools/train sample --checkpoint "$work/out/llama" --prompt "The " --tokens 120
