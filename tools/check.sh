#!/usr/bin/env bash
# Builds and runs some of the tests.
#
#   tools/check.sh LAYER...     the tests of these layers
#   tools/check.sh fast         includes, formats, scripts and the layers of the plan
#   tools/check.sh all          everything that tools/test.sh runs
#   tools/check.sh --list       the names of the layers
#
# A layer is a row of cmake/layers.txt with tests in tests/LAYER/; `emulated` names the tests of
# CUDA kernels on the emulated GPU. Builds in build/release. CONTRIBUTING.md has the durations.
set -euo pipefail
source "$(dirname -- "${BASH_SOURCE[0]}")/common.sh"

# layers [LIBRARY]...: those with tests, of these libraries (both, plan, train).
layers() {
    local library layer
    while read -r library _ layer _; do
        case " $* " in
            *" $library "*) if compgen -G "tests/$layer/*.cpp" >/dev/null; then say "$layer"; fi ;;
        esac
    done <cmake/layers.txt
}

# programs_of LAYER: the test programs that hold its tests.
programs_of() {
    case $1 in
        emulated) say isoflop_simt_emulator_tests isoflop_cuda_emulated_tests isoflop_attention_cuda_tests ;;
        *) say "isoflop_$1_tests" ;;
    esac
}

# run_tests LAYER...
run_tests() {
    local layer programs=() labels
    for layer in "$@"; do
        # shellcheck disable=SC2207
        programs+=($(programs_of "$layer"))
    done
    labels="^($(IFS='|' && say "$*"))\$"
    configure_release -DISOFLOP_BUILD_BENCHMARKS=OFF -- -DISOFLOP_BUILD_TESTS=ON >/dev/null
    cmake --build --preset release --target "${programs[@]}"
    ctest --preset release --output-on-failure --parallel "$(nproc)" --label-regex "$labels" --label-exclude slow
}

fast() {
    python3 -B tools/check_includes.py
    tools/lint.sh --format
    mapfile -t plan_layers < <(layers both plan)
    run_tests "${plan_layers[@]}"
    ctest --preset release --output-on-failure --parallel "$(nproc)" --tests-regex '^Scripts\.'
}

if [[ $# -eq 0 ]]; then print_help >&2 && exit 2; fi
mapfile -t known < <(layers both plan train)
for layer in "$@"; do
    case $layer in
        -h | --help) print_help && exit 0 ;;
        --list) printf '%s\n' "${known[@]}" emulated && exit 0 ;;
        fast | all) if [[ $# -ne 1 ]]; then die 2 "$layer stands alone (try --help)"; fi ;;
        *) case " ${known[*]} emulated " in
            *" $layer "*) ;;
            *) die 2 "no layer $layer with tests; there are: ${known[*]} emulated" ;;
        esac ;;
    esac
done
case $1 in
    fast) fast ;;
    all) tools/test.sh ;;
    *) run_tests "$@" ;;
esac
