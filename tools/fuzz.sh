#!/usr/bin/env bash
# Fuzzes the readers of files and messages of others: tools/fuzz.sh [seconds [target...]], 60
# seconds for each target by default, and all of them (tests/fuzz/<target>_fuzz.cpp). Needs clang++
# with its libFuzzer runtime; without them it reports that and succeeds, so that CI on machines
# without clang stays green. A crash fails; its input is kept in build-fuzz/artifacts/<target>/.
set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
build="$root/build-fuzz"
seconds="${1:-60}"
if ! [[ "$seconds" =~ ^[1-9][0-9]*$ ]]; then
  echo "usage: tools/fuzz.sh [seconds [target...]]" >&2
  exit 2
fi
targets=("${@:2}")
if [[ ${#targets[@]} -eq 0 ]]; then
  for source in "$root"/tests/fuzz/*_fuzz.cpp; do
    name="$(basename "$source" _fuzz.cpp)"
    targets+=("$name")
  done
fi
for target in "${targets[@]}"; do
  if [[ ! -f "$root/tests/fuzz/${target}_fuzz.cpp" ]]; then
    echo "fuzz: there is no target $target" >&2
    exit 2
  fi
done

# The first clang++ that can link a fuzzer.
can_fuzz() {
  local probe
  probe="$(mktemp -d)"
  printf '%s\n' '#include <cstddef>' '#include <cstdint>' \
    'extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t*, std::size_t) { return 0; }' \
    > "$probe/probe.cpp"
  local result=0
  "$1" -fsanitize=fuzzer,address,undefined "$probe/probe.cpp" -o "$probe/probe" \
    > /dev/null 2>&1 || result=1
  rm -rf "$probe"
  return "$result"
}

compiler=""
for candidate in ${CXX:-} clang++ clang++-{21..14}; do
  if command -v "$candidate" > /dev/null && "$candidate" --version | grep -q clang &&
      can_fuzz "$candidate"; then
    compiler="$candidate"
    break
  fi
done
if [[ -z "$compiler" ]]; then
  echo "fuzz: skipped, no clang++ with a libFuzzer runtime (Debian: clang and libclang-rt-dev)"
  exit 0
fi

generator=()
if command -v ninja > /dev/null; then generator=(-G Ninja); fi
cmake -S "$root" -B "$build" "${generator[@]}" -DCMAKE_CXX_COMPILER="$compiler" \
  -DCMAKE_BUILD_TYPE=Debug -DISOFLOP_BUILD_FUZZERS=ON -DISOFLOP_CUDA=OFF \
  -DISOFLOP_BUILD_TESTS=OFF -DISOFLOP_BUILD_BENCHMARKS=OFF \
  -DISOFLOP_WARNINGS_AS_ERRORS="${ISOFLOP_WARNINGS_AS_ERRORS:-OFF}"
cmake --build "$build" --target "${targets[@]/%/_fuzz}"

rm -rf "$build/seeds"
python3 "$root/tests/fuzz/make_seeds.py" "$build/seeds"

# What the fuzzer finds stays in corpus/, so that the next run goes on from there.
fuzz() {
  local target="$1" seeds="$build/seeds/$1" corpus="$build/corpus/$1" artifacts="$build/artifacts/$1"
  local dictionary=()
  mkdir -p "$seeds" "$corpus" "$artifacts"
  if [[ $target == config_reader ]]; then dictionary=("-dict=$root/tests/fuzz/jsonc.dict"); fi
  if "$build/tests/fuzz/${target}_fuzz" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 \
      -max_len=4096 "${dictionary[@]}" -artifact_prefix="$artifacts/" -print_final_stats=1 \
      "$corpus" "$seeds" > "$artifacts/log" 2>&1; then
    echo "fuzz: $target: no crash in $(sed -n 's/^stat::number_of_executed_units: *//p' "$artifacts/log") runs"
  else
    tail -n 60 "$artifacts/log"
    echo "fuzz: $target: CRASH, its input is in $artifacts"
    return 1
  fi
}

# As many at a time as there are cores.
failed=0
running=()
for target in "${targets[@]}"; do
  if [[ ${#running[@]} -ge $(nproc) ]]; then
    wait "${running[0]}" || failed=1
    running=("${running[@]:1}")
  fi
  fuzz "$target" &
  running+=("$!")
done
for process in "${running[@]}"; do wait "$process" || failed=1; done
exit "$failed"
