#!/usr/bin/env bash
# Sets up, builds and runs the whole test suite, for GPUs too where a CUDA toolkit is found.
# Arguments go to ctest, for example:
#
#   tools/test.sh -R ParameterLayout      only the tests with that name
#   tools/test.sh -LE slow                without the slow ones
#   ISOFLOP_CUDA=OFF tools/test.sh        for CPUs only
#
# tools/check.sh runs the tests of one layer, or the fast tests.
set -euo pipefail
source "$(dirname -- "${BASH_SOURCE[0]}")/common.sh"

if [[ ${1:-} == --help || ${1:-} == -h ]]; then print_help && exit 0; fi

tools/setup.sh
cmake --preset release "${strictness[@]}" -DISOFLOP_CUDA="${ISOFLOP_CUDA:-AUTO}" -DISOFLOP_BUILD_TESTS=ON -DISOFLOP_BUILD_BENCHMARKS=ON
cmake --build --preset release
ctest --preset release --output-on-failure --parallel "$(nproc)" "$@"
