#!/usr/bin/env bash
# What the steps of run.sh do: steps.sh STEP ARGUMENT..., in a process of its own that run.sh stops
# at the time limit. The last line of the output is the note of the verdict. Exit codes: 0 passed,
# 77 skipped, others failed.
#
# run.sh exports the variables: bundle (its folder), architecture, minutes, quick (0 or 1), torch
# (an interpreter), step_seconds (the time limit), work (a folder that all steps share) and tables
# (where benchmarks put theirs).
# shellcheck disable=SC2154  # variables of run.sh
set -uo pipefail
# shellcheck disable=SC2034  # the expansion is the check
for variable in bundle architecture minutes quick torch step_seconds work tables; do
    : "${!variable?is set by run.sh}"
done
bin=$bundle/bin carried=$bundle/carried

say() { printf '%s\n' "$*"; }

# Whether code for $architecture, such as 90-real, runs on a GPU of this capability, such as 90.
runs_on() {
    local built=${architecture%%-*} gpu=$1
    built=${built%[af]}
    if [[ -z $gpu || -z $built ]]; then return 0; fi
    if [[ $architecture == *-virtual ]]; then [[ $gpu -ge $built ]] && return; fi
    [[ $((gpu / 10)) -eq $((built / 10)) && $gpu -ge $built ]]
}

skip_because() {
    say "$*"
    exit 77
}

# The sequence of "iteration loss norm" of a log of train, or of a carried reference.
losses_of() {
    sed -n 's/.*"iter": *\([0-9]*\), *"loss": *\([^,]*\),.*"grad_norm": *\([^,}]*\).*/\1 \2 \3/p' "$1"
}

# train_tiny NAME ARGUMENT...: writes $work/out/NAME.
train_tiny() {
    local name=$1
    shift
    "$bin/train" "$carried/tiny.json" --device=cuda --out_dir="$work/out" --run_name="$name" "$@"
}

# compare_losses REFERENCE FILE DTYPE: prints how far apart they are, and fails when that is too
# far.
compare_losses() {
    local of_loss=2e-3 of_norm=2e-2
    if [[ $3 == float32 ]]; then of_loss=1e-4 of_norm=1e-3; fi
    awk -v of_loss="$of_loss" -v of_norm="$of_norm" '
        function apart(a, b) { return a == b ? 0 : (a > b ? a - b : b - a) / (b < 0 ? -b : b) }
        NR == FNR { loss[$1] = $2; norm[$1] = $3; expected++; next }
        { found++; last = $2; reference = loss[$1]
          if (!($1 in loss) || $2 !~ /^[0-9.e+-]+$/ || $3 !~ /^[0-9.e+-]+$/) bad = 1
          else { d = apart($2, loss[$1]); if (d > most_loss) most_loss = d
                 d = apart($3, norm[$1]); if (d > most_norm) most_norm = d } }
        END { if (found != expected || expected == 0) { print "iterations: " found + 0 ", not " expected + 0; exit 1 }
              if (bad) { print "a loss or norm is no number"; exit 1 }
              printf "loss %s, CPU %s; losses differ by %.1e (limit %s), gradient norms by %.1e (limit %s)\n",
                     last, reference, most_loss, of_loss, most_norm, of_norm
              exit !(most_loss <= of_loss && most_norm <= of_norm) }' "$1" "$2"
}

# The backend that a run used in place of the one asked for, with the reason.
other_backend() {
    sed -n 's/.*"type":"header".*"used_backend":"\([^"]*\)","backend_reason":"\([^"]*\)".*/\1 \2/p' "$2" |
        grep -v "^$1 " | head -n 1
}

step_versions() {
    uname -srm
    if [[ -r /etc/os-release ]]; then sed -n 's/^PRETTY_NAME="\(.*\)"/\1/p' /etc/os-release; fi
    getconf GNU_LIBC_VERSION 2>/dev/null
    if [[ -r /proc/driver/nvidia/version ]]; then head -n 1 /proc/driver/nvidia/version; fi
    if command -v nvidia-smi >/dev/null; then
        nvidia-smi --query-gpu=name,driver_version,memory.total,power.limit,clocks.max.sm --format=csv,noheader
    fi
    say "bundle: $(paste -sd' ' "$bundle/MANIFEST" 2>/dev/null)"
    "$bin/scaling-plan" --version >/dev/null || exit
    "$bin/train" --version >"$work/version" || exit
    cat "$work/version"
    head -n 1 "$work/version"
}

step_libraries() {
    local program count=0
    for program in "$bin"/*; do
        say "$program:"
        ldd "$program" 2>&1 | tee -a "$work/libraries"
        count=$((count + 1))
    done
    if grep -q 'not found' "$work/libraries"; then
        say "missing: $(grep 'not found' "$work/libraries" | sed 's/^[ \t]*//' | sort -u | paste -sd';')"
        exit 1
    fi
    say "$count programs, nothing missing"
}

step_doctor() {
    "$bin/train" --doctor >"$work/doctor" || { cat "$work/doctor" && exit 1; }
    cat "$work/doctor"
    if grep -q '^ *GPU  *none' "$work/doctor"; then
        say "no GPU: $(sed -n 's/^ *GPU  *none  *//p' "$work/doctor")"
        exit 1
    fi
    local name text
    name="$(sed -n 's/^ *GPU 0  *\(.*[^ ]\)  *sm_[0-9]*, .*/\1/p' "$work/doctor")"
    text="$(sed -n 's/.* \(sm_[0-9]*\), .*/\1/p' "$work/doctor" | head -n 1)"
    if ! runs_on "${text#sm_}"; then
        say "this bundle is for sm_${architecture%%-*}, and ${name:-the GPU} is $text"
        exit 1
    fi
    say "$name, $text"
}

# suite FILTER [ARGUMENT OF THE TESTS]...
step_suite() {
    local code
    "$bin/isoflop_gpu_tests" --gtest_brief=1 "--gtest_filter=$1" "${@:2}" 2>&1 | tee "$work/suite"
    code=${PIPESTATUS[0]}
    if [[ $code -ne 0 ]]; then
        say "exit code $code $(sed -n 's/^\[  FAILED  \] \([^ ]*\).*/\1/p' "$work/suite" | sort -u | paste -sd' ')"
        exit 1
    fi
    if grep -q '^\[  PASSED  \] 0 tests' "$work/suite"; then
        skip_because "$(grep -m 1 -A 1 'Skipped$' "$work/suite" | tail -n 1)"
    fi
    say "$(sed -n 's/^\[  PASSED  \] \(.*\)\./\1/p' "$work/suite")" \
        "$(sed -n 's/^\[  SKIPPED \] \(.* tests*\).*/\1 skipped/p' "$work/suite")"
}

# training DTYPE BACKEND LENGTH RUN GRAPHS
step_training() {
    local name=$1-$2-$3-$4 other first="$work/bits/$1-$2-$3"
    train_tiny "$name" --dtype="$1" --attention_backend="$2" --block_size="$3" --cuda_graphs="$5" || exit
    other="$(other_backend "$2" "$work/out/$name/metrics.jsonl")"
    if [[ -n $other ]]; then skip_because "$1 has no $2 here: $other"; fi
    losses_of "$work/out/$name/metrics.jsonl" >"$work/losses"
    losses_of "$carried/cpu_$3.json" >"$work/reference"
    compare_losses "$work/reference" "$work/losses" "$1" || exit
    mkdir -p "$work/bits"
    if [[ ! -e $first ]]; then
        cp "$work/losses" "$first"
    elif ! cmp -s "$first" "$work/losses"; then
        diff "$first" "$work/losses"
        say "not the bits of the first run of $1/$2/$3"
        exit 1
    fi
}

step_compare() {
    local dtype=${1#*_}
    case $1 in
        attention_*)
            "$bin/train" compare-attention "$carried/tiny.json" --device=cuda --dtype="$dtype" --repeats=3 \
                --shape=1,70,4,2,64 --shape=2,130,2,2,128 --shape=1,1000,4,1,64 --shape=2,33,2,2,96,full
            ;;
        selfcheck_*) train_tiny selfcheck --dtype="$dtype" --block_size=130 --selfcheck ;;
    esac
}

# Attention plans of cuDNN: compiled and written by the first run, read back by the second.
step_plans() {
    local name=plans-$1 plans=$work/out/plans-first/cudnn_plans
    "$bin/train" "$carried/tiny.json" --device=cuda --dtype=bfloat16 --attention_backend=sdpa --block_size=130 \
        --out_dir="$work/out/plans-first" --run_name="$name" || exit
    local files
    files="$(stat -c '%n %s %y' "$plans"/* 2>/dev/null)"
    if [[ -z $files ]]; then skip_because "sdpa did not use cuDNN: no plan was written"; fi
    losses_of "$work/out/plans-first/$name/metrics.jsonl" >"$work/plans-losses-$1"
    if [[ $1 == write ]]; then
        say "$files" >"$work/plans-files"
    elif [[ ! -e $work/plans-files ]]; then
        skip_because "plans/write did not end"
    elif [[ $files != "$(cat "$work/plans-files")" ]]; then
        say "the second run wrote plans again"
        exit 1
    elif ! cmp "$work/plans-losses-write" "$work/plans-losses-read"; then
        say "the second run has other losses"
        exit 1
    fi
    say "$(wc -l <<<"$files") plans"
}

step_sanitizer() {
    local sanitizer
    for sanitizer in compute-sanitizer "${CUDA_HOME:-/usr/local/cuda}/bin/compute-sanitizer" \
        /usr/local/cuda/compute-sanitizer/compute-sanitizer; do
        if command -v "$sanitizer" >/dev/null; then break; fi
        sanitizer=""
    done
    if [[ -z $sanitizer ]]; then skip_because "compute-sanitizer is not installed"; fi
    "$sanitizer" --tool "$1" --error-exitcode 9 "$bin/train" "$carried/tiny.json" --device=cuda --dtype=bfloat16 \
        --attention_backend=flash_attn_2 --block_size=77 --max_iters=2 --out_dir="$work/out" --run_name="$1"
}

# bench PROGRAM PART: the table goes to its own file, which becomes a section of the results.
step_bench() {
    local code seconds=$((step_seconds > 40 ? step_seconds - 20 : step_seconds / 2)) name="$1${2:+_${2//\//_}}"
    local effort=(--quick)
    if [[ $quick -eq 1 ]]; then effort=(--smallest); elif [[ ${minutes%.*} -ge 30 ]]; then effort=(); fi
    mkdir -p "$work/raw"
    "$bin/$1" ${effort[@]+"${effort[@]}"} --only="$2" --configs="$bundle/configs/train" --seconds="$seconds" \
        --save="$work/raw/$name.json" >"$work/table"
    code=$?
    cat "$work/table"
    if [[ -s $work/table ]]; then cp "$work/table" "$tables/$name.txt"; fi
    if [[ $code -ne 0 ]]; then
        say "exit code $code: $(grep -m 1 FAILED "$work/table")"
        exit 1
    fi
    say "$(grep -c '^skipped ' "$work/table") cases skipped"
}

step_pytorch() {
    if ! command -v "$torch" >/dev/null; then skip_because "$torch is not installed"; fi
    if ! "$torch" -c 'import torch' 2>/dev/null; then skip_because "$torch has no PyTorch"; fi
    if [[ ! -d $work/raw ]]; then skip_because "no benchmark has results to stand beside"; fi
    "$torch" "$bundle/benchmarks/bench_gpu.py" --documents "$work/raw" --torch "$torch" \
        --output "$tables/beside_pytorch.md"
    # 1: a benchmark had failed before; what there is has been written.
    [[ -s $tables/beside_pytorch.md ]] || exit 1
}

# What may end a context or take the machine's memory.
step_faults() {
    case $1 in
        long_attention) step_suite "*DISABLED_*" --gtest_also_run_disabled_tests ;;
        odd_sizes)
            train_tiny odd --dtype=bfloat16 --attention_backend=manual --n_head=3 --n_kv_head=3 --head_dim=10 --n_embd=30 \
                --intermediate_size=37 --block_size=7 --batch_size=3 --vocab_size=259
            ;;
        atomics)
            train_tiny atomics --dtype=bfloat16 --attention_backend=flash_attn_2 --block_size=1000 --deterministic=false || exit
            losses_of "$work/out/atomics/metrics.jsonl" >"$work/losses"
            losses_of "$carried/cpu_1000.json" >"$work/reference"
            compare_losses "$work/reference" "$work/losses" bfloat16
            ;;
        out_of_memory)
            train_tiny too_large --dtype=bfloat16 --n_layer=100 --n_embd=65536 --n_head=512 --n_kv_head=512 --head_dim=128 \
                --intermediate_size=262144 --block_size=77 2>&1 | tail -n 5
            local code=${PIPESTATUS[0]}
            say "exit code $code, and 5 is expected"
            [[ $code -eq 5 ]]
            ;;
    esac
}

# Only run.sh's own time limit ends a step with 124 or 137.
mkdir -p -- "$work" && cd -- "$work" || exit 1
("step_$1" "${@:2}")
code=$?
if [[ $code -eq 0 || $code -eq 77 ]]; then exit "$code"; fi
if [[ $code -gt 128 ]]; then say "ended by signal $((code - 128))"; fi
exit 1
