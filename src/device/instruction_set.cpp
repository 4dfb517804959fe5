#include "isoflop/device/instruction_set.hpp"

#include <atomic>
#include <stdexcept>

namespace isoflop::device {
namespace {

InstructionSet detect() {
#if defined(__x86_64__)
    // These ask the operating system too: without saved registers the instructions would fault.
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) {
        return InstructionSet::generic;
    }
    return __builtin_cpu_supports("avx512f") ? InstructionSet::avx512 : InstructionSet::avx2;
#else
    return InstructionSet::generic;
#endif
}

std::atomic<InstructionSet>& active() {
    static std::atomic<InstructionSet> instruction_set = best_instruction_set();
    return instruction_set;
}

}  // namespace

std::string_view name(InstructionSet instruction_set) {
    switch (instruction_set) {
        case InstructionSet::generic: return "generic";
        case InstructionSet::avx2: return "avx2";
        case InstructionSet::avx512: return "avx512";
    }
    return "?";
}

InstructionSet best_instruction_set() {
    static const InstructionSet best = detect();
    return best;
}

InstructionSet active_instruction_set() {
    return active().load(std::memory_order_relaxed);
}

void force_instruction_set(InstructionSet instruction_set) {
    if (instruction_set > best_instruction_set()) {
        throw std::invalid_argument("this CPU lacks the instruction set");
    }
    active().store(instruction_set, std::memory_order_relaxed);
}

}  // namespace isoflop::device
