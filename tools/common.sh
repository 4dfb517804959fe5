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

# Where ccache is installed, these let it store what is compiled with precompiled headers, and share
# the results of clones in different folders. What the user has set stays.
export CCACHE_SLOPPINESS="${CCACHE_SLOPPINESS:-pch_defines,time_macros}"
export CCACHE_BASEDIR="${CCACHE_BASEDIR:-$root}" CCACHE_NOHASHDIR="${CCACHE_NOHASHDIR:-1}"

# Prints the comment at the head of the running script.
print_help() { sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$script_path"; }

# Succeeds where the machine has an NVIDIA GPU with a working driver.
has_gpu() { have nvidia-smi && nvidia-smi -L 2>/dev/null | grep -q '^GPU'; }

# Warnings are errors where ISOFLOP_WARNINGS_AS_ERRORS=ON, as .ci/run sets it: a compiler that is
# newer than ours, and warns of more, must not keep users from building.
strictness=()
if [[ -n ${ISOFLOP_WARNINGS_AS_ERRORS:-} ]]; then
    strictness=("-DISOFLOP_WARNINGS_AS_ERRORS=$ISOFLOP_WARNINGS_AS_ERRORS")
fi

# Configures build/release for scripts that do not need the GPU code: a folder that exists keeps its
# configuration, a new one has CUDA only where there is a GPU. The variable ISOFLOP_CUDA (AUTO, ON
# or OFF) decides otherwise.
#
#   configure_release [-D OPTION OF A NEW FOLDER]... [-- OPTION OF EVERY FOLDER...]
configure_release() {
    local options=() is_new=1
    if [[ -f build/release/CMakeCache.txt ]]; then is_new=0; fi
    while [[ $# -ne 0 && $1 != -- ]]; do
        if [[ $is_new -eq 1 ]]; then options+=("$1"); fi
        shift
    done
    if [[ $# -ne 0 ]]; then shift; fi
    if [[ -n ${ISOFLOP_CUDA:-} ]]; then
        options+=("-DISOFLOP_CUDA=$ISOFLOP_CUDA")
    elif [[ $is_new -eq 1 ]] && ! has_gpu; then
        options+=(-DISOFLOP_CUDA=OFF)
        say "This machine has no NVIDIA GPU: building for CPUs only. ISOFLOP_CUDA=ON $script_name builds for GPUs too;"
        say "it needs CUDA 12.4 or newer (docs/cuda.md)."
    fi
    cmake --preset release "${strictness[@]}" "${options[@]}" "$@"
}

# build PRESET [ARGUMENT OF cmake --build]...
build() {
    local preset=$1
    shift
    cmake --preset "$preset" "${strictness[@]}" && cmake --build --preset "$preset" "$@"
}
