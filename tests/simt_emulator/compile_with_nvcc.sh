#!/usr/bin/env bash
# Compiles the kernels with every word of the vocabulary, looks for the instructions in the PTX and
# assembles it. Ends with 77, for "skipped", where there is no nvcc.
#
#   compile_with_nvcc.sh SOURCE_FOLDER WORK_FOLDER
set -euo pipefail
source_folder=$1
work_folder=$2

nvcc="$(command -v nvcc || true)"
if [[ -z $nvcc && -x /usr/local/cuda/bin/nvcc ]]; then nvcc=/usr/local/cuda/bin/nvcc; fi
if [[ -z $nvcc ]]; then
    echo "Skipped: no nvcc, neither on PATH nor in /usr/local/cuda/bin."
    exit 77
fi

instructions=(
    mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32
    mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32
    ldmatrix.sync.aligned.m8n8.x2.shared.b16 ldmatrix.sync.aligned.m8n8.x4.shared.b16
    ldmatrix.sync.aligned.m8n8.x1.trans.shared.b16 ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16
    ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16
    cp.async.cg.shared.global cp.async.commit_group "cp.async.wait_group 1" cp.async.wait_all
    prefetch.global.L2 barrier.sync barrier.arrive bar.warp.sync ex2.approx.ftz.f32 rsqrt.approx.ftz.f32
    cvt.rna.tf32.f32 cvt.rn.bf16x2.f32 cvt.rn.f16x2.f32
    shfl.sync.idx shfl.sync.up shfl.sync.down shfl.sync.bfly vote.sync.any vote.sync.all vote.sync.ballot
    ld.global.v4
)
source="$source_folder/tests/simt_emulator/every_word.cu"
flags=(-std=c++20 -Werror all-warnings -Xcompiler -Wall,-Wextra,-Wconversion
    -I"$source_folder/include" -I"$source_folder/src" -I"$source_folder/tests")
mkdir -p "$work_folder"
for architecture in 80 90; do
    ptx="$work_folder/every_word_sm_$architecture.ptx"
    "$nvcc" "${flags[@]}" -ptx -arch="sm_$architecture" -o "$ptx" "$source"
    for instruction in "${instructions[@]}"; do
        if ! grep -qF -- "$instruction" "$ptx"; then
            echo "sm_$architecture: no $instruction in $ptx"
            exit 1
        fi
    done
    # The assembler checks what nvcc passes through as text.
    "$(dirname -- "$(readlink -f -- "$nvcc")")/ptxas" -arch="sm_$architecture" -o "${ptx%.ptx}.cubin" "$ptx"
    echo "sm_$architecture: $(grep -c '\.entry' "$ptx") kernels, all instructions found"
done
