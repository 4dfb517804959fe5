# shellcheck shell=bash
# Shared by the scripts in this folder and by .ci/run: source it after `set -euo pipefail`.
# It changes to the root of the project, so that every script works from any folder.

script_name="$(basename -- "$0")"
script_path="$(CDPATH='' cd -P -- "$(dirname -- "$0")" && pwd)/$script_name"
root="$(CDPATH='' cd -P -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)"
cd -- "$root" || exit

say() { printf '%s\n' "$*"; }

# die EXIT_CODE MESSAGE...
die() {
    local code=$1
    shift
    printf '%s: %s\n' "$script_name" "$*" >&2
    exit "$code"
}

have() { command -v -- "$1" >/dev/null 2>&1; }

# Prints the CUDA compiler that cmake would find; fails without one.
find_nvcc() {
    local candidate
    for candidate in "${CUDACXX:-}" "${CUDA_HOME:+$CUDA_HOME/bin/nvcc}" "${CUDA_PATH:+$CUDA_PATH/bin/nvcc}" nvcc \
        /usr/local/cuda/bin/nvcc; do
        if [[ -n $candidate ]] && command -v -- "$candidate"; then return; fi
    done
    return 1
}

# Prints the comment at the head of the running script.
print_help() { sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$script_path"; }

# build PRESET [ARGUMENT OF cmake --build]...
build() {
    local preset=$1
    shift
    cmake --preset "$preset" && cmake --build --preset "$preset" "$@"
}
