#!/usr/bin/env bash
# Fuzzes the configuration reader: tools/fuzz.sh [seconds], 60 by default. Needs clang++ with its
# libFuzzer runtime; without them it reports that and succeeds, so that CI on machines without clang
# stays green. A crash fails; its input is kept in build-fuzz/artifacts/.
set -euo pipefail

seconds="${1:-60}"
if ! [[ "$seconds" =~ ^[1-9][0-9]*$ ]]; then
  echo "usage: tools/fuzz.sh [seconds]" >&2
  exit 2
fi
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
build="$root/build-fuzz"

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
  -DCMAKE_BUILD_TYPE=Debug -DISOFLOP_BUILD_FUZZERS=ON \
  -DISOFLOP_BUILD_TESTS=OFF -DISOFLOP_BUILD_BENCHMARKS=OFF
cmake --build "$build" --target config_reader_fuzz

# Seeds: every configuration and every malformed file of the tests. What the fuzzer finds stays in
# corpus/, so that the next run goes on from there.
seeds="$build/seeds" corpus="$build/corpus" artifacts="$build/artifacts"
rm -rf "$seeds"
mkdir -p "$seeds" "$corpus" "$artifacts"
while IFS= read -r -d '' file; do
  name="${file#"$root"/}"
  cp "$file" "$seeds/${name//\//_}"
done < <(find "$root/configs" "$root/tests/config" -type f \( -name '*.jsonc' -o -name '*.json' \) -print0)

echo "fuzz: config_reader_fuzz for $seconds s from $(find "$seeds" -type f | wc -l) seeds"
"$build/tests/fuzz/config_reader_fuzz" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 \
  -max_len=4096 -dict="$root/tests/fuzz/jsonc.dict" -artifact_prefix="$artifacts/" \
  -print_final_stats=1 "$corpus" "$seeds"
echo "fuzz: no crash"
