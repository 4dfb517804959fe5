#!/usr/bin/env bash
# Makes a folder that tests and measures a GPU on machines that cannot build, and a .tar.gz of it
# (docs/gpu_bundle.md).
#
#   tools/bundle_gpu.sh ARCH [--output FOLDER] [--jobs N] [-- ARGUMENT OF cmake]...
#
#   ARCH   compute capability of the GPU without the dot (90 for an H100), or what CMAKE_CUDA_ARCHITECTURES takes
#          (90-real, which 90 stands for, or 90-virtual)
#
# Builds in build/bundle-ARCH and writes FOLDER/isoflop-gpu-ARCH and FOLDER/isoflop-gpu-ARCH.tar.gz;
# FOLDER is build by default. Needs nvcc, and no GPU.
set -euo pipefail
source "$(dirname -- "${BASH_SOURCE[0]}")/common.sh"

programs=(train scaling-plan isoflop_gpu_tests bench_gpu)
benchmarks=(bench_gpu_ops bench_gpu_gemm bench_gpu_attention bench_gpu_step)  # names of bench_gpu
lengths=(77 130 1000 1024)  # of the references, as in gpu_bundle/run.sh
largest_mib=60

# Libraries that belong to the machine: glibc and the NVIDIA driver.
is_of_the_machine() {
    case $1 in
        linux-vdso.so.* | ld-linux*.so.* | libc.so.* | libm.so.* | libpthread.so.* | libdl.so.* | librt.so.* | libresolv.so.* | \
            libutil.so.* | libcuda.so.* | libnvidia-ml.so.*) return 0 ;;
    esac
    return 1
}

# configure CMAKE_ARGUMENT...: the folder of the bundle stands first where libraries are looked for.
# The toolkit's folder, which the build adds, stays behind it.
configure() {
    # shellcheck disable=SC2016  # the loader replaces $ORIGIN
    cmake -S . -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DISOFLOP_CUDA=ON -DISOFLOP_BUILD_TESTS=ON \
        -DISOFLOP_BUILD_BENCHMARKS=ON -DISOFLOP_PRECOMPILED_HEADERS=OFF "-DCMAKE_CUDA_ARCHITECTURES=$architecture" \
        '-DCMAKE_BUILD_RPATH=$ORIGIN/../lib' "$@"
}

# A program finds the libraries that it names in the bundle, but the libraries would look for their
# own elsewhere. So programs name those too, and are linked once more.
build_programs() {
    local indirect
    configure -DCMAKE_EXE_LINKER_FLAGS= "$@"
    cmake --build "$build" -j "$jobs" --target "${programs[@]}"
    indirect="$(indirect_libraries)"
    if [[ -n $indirect ]]; then
        configure "-DCMAKE_EXE_LINKER_FLAGS=-Wl,--push-state,--no-as-needed $indirect -Wl,--pop-state" "$@"
        cmake --build "$build" -j "$jobs" --target "${programs[@]}"
    fi
}

# Paths of what programs load for the sake of other libraries.
indirect_libraries() {
    local program name path
    for program in "${programs[@]}"; do
        path="$(built_program "$program")"
        libraries_of "$path" >"$scratch/loaded"
        readelf -d "$path" >"$scratch/named"
        while read -r name path; do
            if ! is_of_the_machine "$name" && ! grep -qF "[$name]" "$scratch/named"; then say "$path"; fi
        done <"$scratch/loaded"
    done | sort -u | paste -sd' '
}

# The path of a program of the build, wherever its target puts it.
built_program() {
    local found
    found="$(find "$build" -type f -name "$1" -perm -u+x -print -quit)"
    if [[ -z $found ]]; then die 1 "$build has no program $1"; fi
    say "$found"
}

# Names and paths of the libraries that the loader finds for a file.
libraries_of() { ldd "$1" | awk '$2 == "=>" && $3 ~ /^\// { print $1, $3 }'; }

copy_programs() {
    local program name path
    mkdir -p "$bundle/bin" "$bundle/lib"
    for program in "${programs[@]}"; do
        path="$(built_program "$program")"
        strip -o "$bundle/bin/$program" "$path"
    done
    for name in "${benchmarks[@]}"; do ln -s bench_gpu "$bundle/bin/$name"; done
    for program in "${programs[@]}"; do
        while read -r name path; do
            if is_of_the_machine "$name" || [[ -e $bundle/lib/$name ]]; then continue; fi
            cp -L -- "$path" "$bundle/lib/$name"
            chmod u+w,a+r "$bundle/lib/$name"
        done < <(libraries_of "$(built_program "$program")")
    done
}

# Every library that is not the machine's is found in the bundle.
check_libraries() {
    local file name path
    for file in "$bundle"/bin/*; do
        if ldd "$file" | grep 'not found'; then die 1 "$file lacks a library"; fi
        while read -r name path; do
            if is_of_the_machine "$name" || [[ $(readlink -f -- "$path") == "$bundle"/lib/* ]]; then continue; fi
            die 1 "$file finds $name at $path, outside of the bundle"
        done < <(libraries_of "$file")
    done
}

# A model that trains within a second. Everything that decides the numbers is here; run.sh adds
# device, type and length.
write_tiny_config() {
    cat <<'EOF'
{
  "arch_preset": "llama", "n_layer": 2, "n_head": 2, "n_kv_head": 1, "n_embd": 64, "head_dim": 64, "intermediate_size": 96,
  "vocab_size": 257, "batch_size": 2, "gradient_accumulation_steps": 2, "max_iters": 3,
  "lr_decay_iters": 4, "warmup_iters": 0, "learning_rate": 1e-3, "grad_clip": 1.0,
  "eval_interval": 0, "eval_iters": 1, "checkpoint_interval": 100, "keep_checkpoints": 0,
  "log_interval": 1, "gradient_log_interval": 0, "dataset": "builtin", "tensorboard": false, "save_log_to_json": false,
  "threads": 1
}
EOF
}

# Losses of the CPU in float32, one line for each iteration.
write_references() {
    local length
    mkdir -p "$bundle/carried"
    write_tiny_config >"$bundle/carried/tiny.json"
    for length in "${lengths[@]}"; do
        "$bundle/bin/train" "$bundle/carried/tiny.json" --device=cpu --block_size="$length" --out_dir="$scratch" \
            --run_name="cpu$length" >/dev/null
        {
            say "{\"sequence_length\": $length, \"device\": \"cpu\", \"dtype\": \"float32\", \"iterations\": ["
            sed -n 's/.*"iter":\([0-9]*\),"loss":\([^,]*\),.*"grad_norm":\([^,]*\),.*/{"iter": \1, "loss": \2, "grad_norm": \3},/p' \
                "$scratch/cpu$length/metrics.jsonl" | sed '$s/,$//'
            say "]}"
        } >"$bundle/carried/cpu_$length.json"
        if [[ $(grep -c '"iter"' "$bundle/carried/cpu_$length.json") -ne 3 ]]; then
            die 1 "the reference of length $length is not complete"
        fi
    done
}

copy_files() {
    cp -R configs "$bundle/"
    mkdir -p "$bundle/benchmarks/peers"
    cp tests/benchmarks/bench_gpu.py "$bundle/benchmarks/"
    cp tests/benchmarks/peers/torch_*.py "$bundle/benchmarks/peers/"
    cp tools/gpu_bundle/run.sh tools/gpu_bundle/steps.sh LICENSE "$bundle/"
    {
        say "architecture $architecture"
        say "commit $(git rev-parse --short HEAD 2>/dev/null || say unknown)"
        say "glibc $(getconf GNU_LIBC_VERSION | tr -dc '0-9.') or newer"
        say "made $(date -u +%Y-%m-%d)"
    } >"$bundle/MANIFEST"
}

# archive: a folder that is too large is a mistake, such as code for several architectures.
archive() {
    local kib
    kib="$(du -sk --apparent-size "$bundle" | cut -f 1)"
    if [[ $kib -gt $((largest_mib * 1024)) ]]; then die 1 "$bundle takes $kib KiB, more than $largest_mib MiB"; fi
    tar -C "$output" -czf "$bundle.tar.gz" "$(basename -- "$bundle")"
    say "$bundle: $((kib / 1024)) MiB, packed $(($(stat -c %s "$bundle.tar.gz") / 1048576)) MiB: $bundle.tar.gz"
    say "On the machine with the GPU: tar xf $(basename -- "$bundle").tar.gz && $(basename -- "$bundle")/run.sh --minutes 15"
}

architecture="" output=build jobs="$(nproc)"
while [[ $# -gt 0 ]]; do
    case $1 in
        -h | --help) print_help && exit 0 ;;
        --output | --jobs)
            if [[ $# -lt 2 ]]; then die 2 "$1 needs a value"; fi
            if [[ $1 == --output ]]; then output=$2; else jobs=$2; fi
            shift 2
            ;;
        --) shift && break ;;
        -*) die 2 "unknown option $1 (try --help)" ;;
        *)
            if [[ -n $architecture ]]; then die 2 "one architecture, not also $1"; fi
            architecture=$1 && shift
            ;;
    esac
done
if ! [[ $architecture =~ ^[1-9][0-9]{1,2}[af]?(-real|-virtual)?$ ]]; then
    die 2 "ARCH is a compute capability such as 80, 90 or 120, not '$architecture' (try --help)"
fi
name=isoflop-gpu-${architecture%-real}
build=build/bundle-${architecture%-real}
if [[ $architecture != *-* ]]; then architecture+=-real; fi
find_nvcc >/dev/null || die 2 "nvcc was found neither on the PATH nor in CUDACXX, CUDA_HOME, CUDA_PATH or /usr/local/cuda"

mkdir -p -- "$output"
output="$(cd -- "$output" && pwd)"
bundle=$output/$name
scratch="$(mktemp -d)"
trap 'rm -rf -- "$scratch"' EXIT

build_programs "$@" >&2
rm -rf -- "$bundle" "$bundle.tar.gz"
copy_programs
check_libraries
copy_files
write_references
archive
