#!/usr/bin/env bash
# Trains with --device=cuda on a machine without a GPU: ptxrun, a program beside the project,
# interprets the kernels of the real binary and checks every access. Builds ptxrun and the program,
# then runs tests/tools/ptxrun_check.py.
#
#   tools/ptxrun.sh PTXRUN_FOLDER            everything, about six minutes of CPU time after building
#   tools/ptxrun.sh PTXRUN_FOLDER --quick    a handful of runs of train; further arguments go to the check
#
# Needs nvcc of CUDA 13. Builds in build/ptxrun and build/ptx.
set -euo pipefail
source "$(dirname -- "${BASH_SOURCE[0]}")/common.sh"

if [[ $# -eq 0 || $1 == --help || $1 == -h ]]; then print_help && exit 0; fi
if [[ ! -f $1/Makefile || ! -f $1/scripts/ptxrun ]]; then die 2 "$1 has no Makefile and scripts/ptxrun"; fi
folder="$(CDPATH='' cd -P -- "$1" && pwd)"
shift
nvcc="$(find_nvcc)" || die 2 "nvcc was found neither on the PATH nor in CUDACXX, CUDA_HOME, CUDA_PATH or /usr/local/cuda"
jobs="$(nproc)"

make --no-print-directory -C "$folder" B="$root/build/ptxrun" CUDA="$(dirname -- "$(dirname -- "$nvcc")")" -j"$jobs"
# The architecture as PTX and uncompressed, as ptxrun reads it; the runtime shared, for ptxrun's to
# take its place.
cmake -S . -B build/ptx -G Ninja -DCMAKE_BUILD_TYPE=Release -DISOFLOP_CUDA=ON -DISOFLOP_BUILD_BENCHMARKS=OFF "${strictness[@]}" \
    -DCMAKE_CUDA_COMPILER="$nvcc" -DCMAKE_CUDA_RUNTIME_LIBRARY=Shared -DCMAKE_CUDA_ARCHITECTURES=80-virtual \
    -DCMAKE_CUDA_FLAGS="--no-compress -lineinfo"
targets=(train) check=()
if [[ " $* " != *" --quick "* ]]; then
    targets+=(isoflop_gpu_tests)
    check=(--gpu-tests build/ptx/tests/support/gpu/isoflop_gpu_tests)
fi
cmake --build build/ptx --target "${targets[@]}" -j "$jobs"

export PTXRUN_LIB="$root/build/ptxrun/lib"
python3 -B tests/tools/ptxrun_check.py build/ptx/tools/train "$folder/scripts/ptxrun" "${check[@]}" "$@"
