#!/usr/bin/env bash
# Sets up, builds and runs the whole test suite. Arguments go to ctest, for example:
#
#   tools/test.sh -R ParameterLayout      only the tests with that name
#   tools/test.sh -LE slow                without the slow ones
set -euo pipefail
source "$(dirname -- "${BASH_SOURCE[0]}")/common.sh"

if [[ ${1:-} == --help || ${1:-} == -h ]]; then print_help && exit 0; fi

tools/setup.sh
build release
ctest --preset release --output-on-failure --parallel "$(nproc)" "$@"
