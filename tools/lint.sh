#!/usr/bin/env bash
# Checks what every layer includes, the width of prose (check_prose.py) and the format of every C++
# file (clang-format, version 14 only: other versions format differently), and runs clang-tidy over
# src and tools. Ends with 1 on findings.
#
#   tools/lint.sh            check
#   tools/lint.sh --includes check the includes only
#   tools/lint.sh --format   check the format and the width of prose only
#   tools/lint.sh --tidy     run clang-tidy only
#   tools/lint.sh --fix      format the files instead
set -euo pipefail
source "$(dirname -- "${BASH_SOURCE[0]}")/common.sh"

jobs="$(nproc)"
failed=0

# find_tool NAME: NAME-14 if there, else NAME.
find_tool() { command -v -- "$1-14" || command -v -- "$1"; }

# A check that cannot be made is skipped with a word, but never in CI.
skip() {
    say "$*"
    if [[ -n ${CI:-} ]]; then failed=1; fi
}

# Files of the project that git knows or would add, one per NUL.
cpp_files() {
    git ls-files -z --cached --others --exclude-standard -- '*.cpp' '*.hpp' '*.cu' '*.cuh' |
        while IFS= read -r -d '' file; do
            if [[ -f $file ]]; then printf '%s\0' "$file"; fi
        done
}

check_includes() { python3 -B tools/check_includes.py || failed=1; }

check_prose() { python3 -B tools/check_prose.py || failed=1; }

check_format() {
    local clang_format
    clang_format="$(find_tool clang-format || true)"
    if [[ -z $clang_format || ! $("$clang_format" --version) =~ version\ 14\. ]]; then
        skip "Formatting is checked with clang-format 14 only, which is not here: skipped."
        return
    fi
    say "clang-format: $(cpp_files | tr -dc '\0' | wc -c) files"
    cpp_files | xargs -0 -r -n 32 -P "$jobs" "$clang_format" "$@" || failed=1
}

check_tidy() {
    local clang_tidy
    clang_tidy="$(find_tool clang-tidy || true)"
    if [[ -z $clang_tidy ]]; then
        skip "clang-tidy is not here: skipped (tools/setup.sh --dev installs it)."
        return
    fi
    say "$("$clang_tidy" --version | grep -o 'LLVM version.*' | sed 's/LLVM/clang-tidy/') over src and tools"
    cmake --preset release "${strictness[@]}" >/dev/null
    mapfile -d '' -t sources < <(cpp_files | { grep -zE '^(src|tools)/.*\.cpp$' || true; })
    python3 -B tools/tidy.py "$clang_tidy" build/release "${sources[@]}" || failed=1
}

case ${1:-} in
    "") check_includes && check_prose && check_format --dry-run --Werror && check_tidy ;;
    --includes) check_includes ;;
    --format) check_prose && check_format --dry-run --Werror ;;
    --tidy) check_tidy ;;
    --fix) check_format -i ;;
    -h | --help) print_help && exit 0 ;;
    *) die 2 "unknown option $1 (try --help)" ;;
esac
if [[ $failed -ne 0 ]]; then die 1 "findings above"; fi
