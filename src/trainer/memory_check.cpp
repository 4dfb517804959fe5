#include "memory_check.hpp"

#include <fmt/format.h>

#include "isoflop/base/error.hpp"
#include "isoflop/base/text.hpp"
#include "isoflop/text/sections.hpp"

namespace isoflop::trainer {
namespace {

std::string readable(std::uint64_t bytes) {
    return human_bytes(static_cast<double>(bytes));
}

}  // namespace

std::string MemoryNeed::parts() const {
    std::string text = readable(arena_bytes) + " of buffers";
    const auto add = [&](std::uint64_t bytes, const std::string& what) {
        if (bytes > 0) text += fmt::format(", about {} for {}", readable(bytes), what);
    };
    add(overhead.modules_bytes, "kernels");
    add(overhead.cudnn_bytes, "cuDNN");
    add(overhead.nccl_bytes, fmt::format("NCCL ({} communicator{})", overhead.communicators,
                                         overhead.communicators == 1 ? "" : "s"));
    return text;
}

MemoryNeed memory_need(const recipe::RunPlan& plan, const device::DeviceMemoryUse& use) {
    return {.arena_bytes = plan.memory.arena_bytes,
            .overhead = cost::device_overhead(plan.config.execution),
            .available_bytes = use.arena_limit};
}

void check_memory(const recipe::RunPlan& plan, const device::DeviceMemoryUse& use) {
    const MemoryNeed need = memory_need(plan, use);
    if (need.fits()) return;
    text::TextReport table(text::Colour::off);
    text::memory_rows(table, plan.memory);
    throw Error(
        ExitCode::out_of_memory,
        fmt::format("the run needs {} and this {} has {} for it ({}):\n{}a smaller "
                    "batch_size, recompute=block or attention_backend=flash_attn_2 need "
                    "less",
                    readable(need.needed_bytes()),
                    plan.config.execution.device == cost::DeviceKind::cuda ? "GPU" : "machine",
                    readable(need.available_bytes), need.parts(), table.str()));
}

}  // namespace isoflop::trainer
