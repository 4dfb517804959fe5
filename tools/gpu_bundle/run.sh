#!/usr/bin/env bash
# Tests and measures this bundle on the GPU of this machine, and writes results/<gpu>.md.
#
#   ./run.sh --minutes 15          at most 15 minutes (the default)
#   ./run.sh --list                print the groups of steps, in the order in which they run
#
#   --minutes N      Time limit for everything. From 30 minutes on, benchmarks make full measurements.
#   --only A,B       Run only the steps that match one of these patterns, such as training or 'training/*/77/*'
#   --quick          Train at sequence length 77 only, with graphs; smallest benchmarks, which measure nothing
#   --slow FACTOR    Multiply the time limit of each step by FACTOR
#   --output FOLDER  Write there instead of results beside this script
#   --torch PYTHON   Interpreter with PyTorch; python3 by default
#
# Each step is a process with a time limit and ends with one line: PASS, FAIL, SKIP or TIMEOUT,
# seconds, name, note. The results are written again before and after each step, so that they exist
# however the run ends.
#
# Exit codes: 0 every step passed or was skipped, 1 a step failed or reached its limit, 2 there is
# no GPU for this bundle or the command line is wrong, 3 the minutes were over before the last step,
# 129, 130 or 143 a signal (HUP, INT, TERM).
#
# Needs bash 4, coreutils, sed, grep and awk.
set -uo pipefail
export LC_ALL=C

# ---- The steps, in their order: group, seconds that one process may take, how its steps are made.
# A suite of isoflop_gpu_tests belongs to the first group with a pattern that matches its name.
groups=(
    "versions         30   single"
    "libraries        30   single"
    "doctor           120  single"
    "device           120  suites   GpuDevice* Gpus* SupportOnDevice* SupportOnGpu*"
    "products         300  suites   GpuProducts* GpuMeasuredProducts* Linear*"
    "attention        300  suites   *Attention*"
    "ops              180  suites   *"
    "steps            300  suites   *WholeSteps* *StochasticRoundingOfARun* *Fp16*"
    "training         60   training"
    "compare          120  variants attention_bfloat16 attention_float16 selfcheck_bfloat16 selfcheck_float16"
    "plans            120  variants write read"
    "nccl             120  suites   *Nccl*"
    "sanitizer        300  variants memcheck racecheck"
    "bench_products   180  bench    bench_gpu_gemm llama_1b gpt2_124m"
    "bench_attention  180  bench    bench_gpu_attention /128/causal /64/causal /128/full /64/full"
    "bench_steps      180  bench    bench_gpu_step llama_1b/flash gpt2_124m/flash llama_1b/sdpa gpt2_124m/sdpa manual"
    "bench_ops        180  bench    bench_gpu_ops"
    "pytorch          600  single"
    "faults           120  variants long_attention odd_sizes atomics out_of_memory"
    "odd_biases       120  suites   *OddBiases*"
)
# Patterns of suites that later groups of the table take.
claimed_later=("*WholeSteps*" "*StochasticRoundingOfARun*" "*Fp16*" "*Nccl*" "*OddBiases*")

lengths=(77 130 1000 1024)
# float32 and tf32 have the manual backend alone.
backends=(bfloat16/flash_attn_2 bfloat16/sdpa bfloat16/manual float16/flash_attn_2 float16/sdpa float16/manual
    float32/manual tf32/manual)
# Name and value of cuda_graphs. All four give the same bits.
runs=("graphs true" "graphs_again true" "no_graphs false" "no_graphs_again false")

readonly pass=0 skip=77  # exit codes of a step; others are failures
bundle="$(CDPATH='' cd -P -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)"
bin=$bundle/bin

say() { printf '%s\n' "$*"; }

# lines TEXT...: each on a line of its own.
lines() { printf '%s\n' "$@"; }

usage_error() {
    printf 'run.sh: %s (try --help)\n' "$*" >&2
    exit 2
}

# ---- Running steps

now_ms() { date +%s%3N; }

chosen() {
    local pattern
    if [[ ${#only[@]} -eq 0 ]]; then return 0; fi
    for pattern in "${only[@]}"; do
        # shellcheck disable=SC2053  # a pattern
        if [[ $1 == $pattern || $1 == $pattern/* ]]; then return 0; fi
    done
    return 1
}

# end_group ID: timeout ends with the step's shell, but a program that ends gently, or hangs, may
# outlive it. It gets five seconds, so that it does not hold the GPU while the next step runs.
end_group() {
    local tries
    for ((tries = 0; tries < 50; ++tries)); do
        if ! kill -0 -- "-$1" 2>/dev/null; then return; fi
        sleep 0.1
    done
    kill -KILL -- "-$1" 2>/dev/null
}

# step NAME LIMIT FUNCTION ARGUMENT...: runs it, prints the verdict and records it.
step() {
    local name=$1 limit=$2 code start_ms left cut=0
    shift 2
    case $name in
        versions | libraries | doctor) ;;
        *) if ! chosen "$name"; then return; fi ;;
    esac
    left=$((deadline - SECONDS))
    limit="$(awk -v a="$limit" -v b="$slow" 'BEGIN { t = a * b; printf "%.1f", t < 0.2 ? 0.2 : t }')"
    if [[ $left -lt 2 ]]; then finish 3 "stopped: the $minutes minutes were over before $name"; fi
    if [[ ${limit%.*} -ge $left ]]; then limit=$left cut=1; fi
    number=$((number + 1))
    log="$logs/$(printf '%03d' "$number")_${name//[^A-Za-z0-9_]/_}.log"
    running=$name
    write_results "running $name (a file that ends here belongs to a run that was killed)"

    start_ms="$(now_ms)"
    step_seconds=${limit%.*} timeout -k 5 "$limit" "$BASH" "$bundle/steps.sh" "$@" >"$log" 2>&1 </dev/null &
    child=$!
    wait "$child"
    code=$?
    end_group "$child"
    child=""
    record "$name" "$code" "$limit" "$cut" "$(($(now_ms) - start_ms))"
    write_results "running"
    if [[ $cut -eq 1 && ($code -eq 124 || $code -eq 137) ]]; then
        finish 3 "stopped: the $minutes minutes were over during $name"
    fi
}

# record NAME EXIT_CODE LIMIT CUT MILLISECONDS
record() {
    local verdict note seconds
    note="$(grep -v '^[[:space:]]*$' "$log" | tail -n 1 | cut -c 1-300)"
    seconds="$(($5 / 1000)).$((($5 % 1000) / 100))"
    case $2 in
        "$pass") verdict=PASS ;;
        "$skip") verdict=SKIP ;;
        124 | 137)
            verdict=TIMEOUT note="not done after $3 s"
            if [[ $4 -eq 1 ]]; then note="the minutes were over"; else failures=$((failures + 1)); fi
            ;;
        *) verdict=FAIL failures=$((failures + 1)) ;;
    esac
    counts[$verdict]=$((${counts[$verdict]:-0} + 1))
    printf '%-7s %7s s  %-45s %s\n' "$verdict" "$seconds" "$1" "$note"
    printf '| %s | %s | %s | %s |\n' "$1" "$verdict" "$seconds" "${note//|/\\|}" >>"$state/table"
    if [[ $verdict == FAIL || $verdict == TIMEOUT ]]; then
        # shellcheck disable=SC2016  # no command
        printf '### %s\n\n```\n%s\n```\n\n' "$1" "$(tail -n 20 "$log" | cut -c 1-300)" >>"$state/failures"
    fi
    last_verdict=$verdict last_note=$note
}

# ---- Results

results_file() { say "$output/$gpu.md"; }

# name_gpu NAME: "NVIDIA H100 80GB HBM3" gives h100_80gb_hbm3.md, as bench_gpu.py names it.
name_gpu() {
    local old
    old="$(results_file)"
    gpu_title=${1:-Unknown GPU}
    gpu="$(tr '[:upper:]' '[:lower:]' <<<"$1" | grep -oE '[a-z0-9]+' | grep -vxE 'nvidia|geforce' | paste -sd_)"
    if [[ -z $gpu ]]; then gpu=unknown_gpu; fi
    if [[ $old != "$(results_file)" ]]; then rm -f -- "$old"; fi
}

# write_results STATUS
write_results() {
    local file table verdict
    file="$(results_file)"
    {
        lines "# $gpu_title" ""
        lines "Written by run.sh of the bundle for sm_${architecture%-real}; the logs of all steps are in ${logs#"$output"/}." ""
        lines "- Status: $1"
        lines "- Begun $begun; $SECONDS s of $minutes minutes used"
        for verdict in PASS FAIL TIMEOUT SKIP; do lines "- $verdict: ${counts[$verdict]:-0}"; done
        if [[ -s $state/not_run ]]; then lines "- Not run: $(paste -sd' ' "$state/not_run")"; fi
        lines "" "## Steps" "" "| step | verdict | seconds | note |" "|---|---|---|---|"
        if [[ -e $state/table ]]; then cat "$state/table"; fi
        if [[ -s $state/failures ]]; then lines "" "## Failures" "" && cat "$state/failures"; fi
        for table in "$tables"/*.txt; do
            if [[ ! -e $table ]]; then continue; fi
            lines "" "## $(basename -- "$table" .txt)" "" '```' "$(cat "$table")" '```'
        done
        for table in "$tables"/*.md; do
            if [[ -e $table ]]; then lines "" && sed 's/^#/##/' "$table"; fi
        done
        if [[ $quick -eq 1 ]]; then lines "" "Benchmarks ran at the smallest sizes, once: they measure nothing."; fi
        if [[ -s $work/doctor ]]; then lines "" "## Machine" "" '```' "$(cat "$work/doctor")" '```'; fi
    } >"$file.tmp" && mv -f -- "$file.tmp" "$file"
}

# finish EXIT_CODE STATUS
finish() {
    local code=$1
    trap '' TERM INT HUP
    if [[ -n $running && $code -ne 0 ]]; then groups_after "$running" >"$state/not_run"; fi
    if [[ $failures -gt 0 && ($code -eq 0 || $code -eq 3) ]]; then code=1; fi
    write_results "$2"
    say "$2"
    say "results: $(results_file)"
    rm -rf -- "$work" "$state"
    exit "$code"
}

# Groups of the table after that of this step: none of their steps has run.
groups_after() {
    local line group passed=0
    for line in "${groups[@]}"; do
        group=${line%% *}
        if [[ $passed -eq 1 ]] && { chosen "$group" || [[ ${#only[@]} -gt 0 && " ${only[*]}" == *" $group/"* ]]; }; then
            say "$group"
        fi
        if [[ $group == "${1%%/*}" ]]; then passed=1; fi
    done
}

# stop SIGNAL EXIT_CODE
stop() {
    trap '' TERM INT HUP
    if [[ -n $child ]]; then
        kill -TERM "$child" 2>/dev/null
        wait "$child"
        end_group "$child"
    fi
    finish "$2" "stopped by SIG$1${running:+ during $running}"
}

# ---- Making the steps of a group

matches_any() {
    local name=$1 pattern
    shift
    for pattern in "$@"; do
        # shellcheck disable=SC2053  # a pattern
        if [[ $name == $pattern ]]; then return 0; fi
    done
    return 1
}

# make_suites GROUP LIMIT PATTERN...: suites that no group before has taken.
make_suites() {
    local group=$1 limit=$2 name later=()
    shift 2
    if [[ $1 == "*" ]]; then later=("${claimed_later[@]}"); fi
    for name in ${suites[@]+"${suites[@]}"}; do
        if [[ -n ${taken[$name]:-} ]] || ! matches_any "$name" "$@"; then continue; fi
        if matches_any "$name" ${later[@]+"${later[@]}"}; then continue; fi
        taken[$name]=1
        step "$group/$name" "$limit" suite "$name.*"
    done
}

make_training() {
    local length backend run
    for length in "${lengths[@]}"; do
        for backend in "${backends[@]}"; do
            for run in "${runs[@]}"; do
                step "$1/$backend/$length/${run% *}" "$2" training "${backend%/*}" "${backend#*/}" "$length" "${run% *}" \
                    "${run#* }"
            done
        done
    done
}

make_group() {
    local group=$1 limit=$2 kind=$3 part
    shift 3
    case $kind in
        single) step "$group" "$limit" "$group" ;;
        suites) make_suites "$group" "$limit" "$@" ;;
        training) make_training "$group" "$limit" ;;
        variants) for part in "$@"; do step "$group/$part" "$limit" "$group" "$part"; done ;;
        bench)
            if [[ $# -eq 1 ]]; then set -- "$1" ""; fi
            for part in "${@:2}"; do
                part_name=${part#/}
                step "$group${part:+/${part_name//\//_}}" "$limit" bench "$1" "$part"
            done
            ;;
    esac
}

list_suites() {
    timeout -k 5 60 "$bin/isoflop_gpu_tests" --gtest_list_tests 2>/dev/null | sed -n 's/^\([^ ]*\)\..*/\1/p'
}

# ---- The command line

minutes=15 quick=0 slow=1 output=$bundle/results torch=python3 only=()
architecture="$(sed -n 's/^architecture //p' "$bundle/MANIFEST" 2>/dev/null)"

while [[ $# -gt 0 ]]; do
    case $1 in
        --minutes=* | --only=* | --slow=* | --output=* | --torch=*) set -- "${1%%=*}" "${1#*=}" "${@:2}" ;;
    esac
    case $1 in
        --minutes | --only | --slow | --output | --torch) if [[ $# -lt 2 ]]; then usage_error "$1 needs a value"; fi ;;
    esac
    case $1 in
        --minutes) minutes=$2 && shift 2 ;;
        --only) IFS=, read -ra only <<<"$2" && shift 2 ;;
        --slow) slow=$2 && shift 2 ;;
        --output) output=$2 && shift 2 ;;
        --torch) torch=$2 && shift 2 ;;
        --quick) quick=1 && shift ;;
        --list)
            for line in "${groups[@]}"; do
                read -r group limit _ <<<"$line"
                printf '%-16s at most %s s a step\n' "$group" "$limit"
            done
            exit 0
            ;;
        -h | --help) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//p;}' "${BASH_SOURCE[0]}" && exit 0 ;;
        *) usage_error "unknown option $1" ;;
    esac
done
if ! [[ $minutes =~ ^[0-9]{1,5}(\.[0-9]+)?$ ]]; then usage_error "--minutes takes a number"; fi
if ! [[ $slow =~ ^[0-9]+(\.[0-9]+)?$ ]]; then usage_error "--slow takes a number"; fi
if [[ $quick -eq 1 ]]; then lengths=(77) runs=("graphs true"); fi

SECONDS=0
deadline="$(awk -v m="$minutes" 'BEGIN { printf "%d", m * 60 }')"
mkdir -p -- "$output" || exit 2
output="$(cd -- "$output" && pwd)"
begun="$(date '+%Y-%m-%d %H:%M:%S %Z')"
logs="$output/logs_$(date +%Y%m%d_%H%M%S)_$$"
tables=$logs/tables
mkdir -p -- "$logs" "$tables" || exit 2
work="$(mktemp -d)" state="$(mktemp -d)"
number=0 failures=0 child="" running="" log="" gpu=unknown_gpu gpu_title="Unknown GPU" last_verdict="" last_note=""
declare -A counts=() taken=()
suites=()

export bundle architecture minutes quick torch work tables  # for steps.sh

trap 'stop TERM 143' TERM
trap 'stop INT 130' INT
trap 'stop HUP 129' HUP

for line in "${groups[@]}"; do
    set -f  # patterns of suites are no names of files
    # shellcheck disable=SC2086
    set -- $line
    set +f
    make_group "$@"
    if [[ $1 == versions && $last_verdict == FAIL ]]; then finish 1 "stopped: the programs do not start: $last_note"; fi
    if [[ $1 == doctor ]]; then
        if [[ $last_verdict == FAIL && $last_note == "no GPU:"* ]]; then
            name_gpu "no GPU"
            finish 2 "stopped: ${last_note/no GPU:/no GPU was found:}"
        fi
        name_gpu "$(sed -n 's/^ *GPU 0  *\(.*[^ ]\)  *sm_[0-9]*, .*/\1/p' "$work/doctor" 2>/dev/null)"
        if [[ $last_verdict == FAIL && $last_note == "this bundle is for"* ]]; then finish 2 "stopped: $last_note"; fi
        mapfile -t suites < <(list_suites)
    fi
done
running=""
if [[ $failures -gt 0 ]]; then finish 1 "complete, with $failures failures"; fi
finish 0 "complete"
