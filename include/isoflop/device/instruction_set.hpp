// The instruction set of the CPU kernels. One binary contains all kernels and selects them at run
// time.
#pragma once

#include <cstdint>
#include <string_view>

namespace isoflop::device {

/// In rising order: each CPU that has one of them has those before it.
enum class InstructionSet { generic, avx2, avx512 };

[[nodiscard]] std::string_view name(InstructionSet instruction_set);

/// The widest that this CPU and operating system support.
[[nodiscard]] InstructionSet best_instruction_set();

/// The one in use: the best, unless a test chose another.
[[nodiscard]] InstructionSet active_instruction_set();

/// For tests, between products. Throws std::invalid_argument when the CPU lacks it.
void force_instruction_set(InstructionSet instruction_set);

}  // namespace isoflop::device
