#include "memory_check.hpp"

#include <fmt/format.h>

#include "isoflop/base/error.hpp"
#include "isoflop/base/text.hpp"
#include "isoflop/hardware/gpu_table.hpp"
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

MemoryVerdict memory_verdict(const recipe::RunPlan& plan, const device::DeviceMemoryUse& use,
                             std::string device) {
    const MemoryNeed need = memory_need(plan, use);
    return {.device = std::move(device),
            .fit = recipe::memory_fit(plan, need.available_bytes + need.overhead.opened_bytes,
                                      recipe::KeysOf::training)};
}

MemoryVerdict planned_verdict(const recipe::RunPlan& plan, int ranks_on_host) {
    const std::string& named = plan.config.keys.run.gpu_type;
    if (plan.config.execution.device == cost::DeviceKind::cpu) {
        const auto host =
            device::open_device(cost::DeviceKind::cpu, {.ranks_on_host = ranks_on_host});
        return memory_verdict(plan, host->memory_use(), "this machine");
    }
    const hardware::GpuTable& table = hardware::GpuTable::builtin();
    const hardware::Gpu* const row = named.empty() ? nullptr : &table.at(named);
    if (device::count_gpus().devices > 0) {
        const auto gpu = device::open_gpu({});
        const bool is_here = row == nullptr || table.find(gpu->info().name) == row;
        if (is_here) return memory_verdict(plan, gpu->memory_use(), gpu->info().name);
    }
    if (row == nullptr) return {.device = "the GPU", .fit = {}};
    return {.device = row->id,
            .fit = recipe::memory_fit(plan, row->usable_memory_bytes, recipe::KeysOf::training)};
}

void check_memory(const recipe::RunPlan& plan, const device::DeviceMemoryUse& use) {
    const MemoryVerdict verdict = memory_verdict(plan, use, {});
    if (verdict.fit->fits()) return;
    const MemoryNeed need = memory_need(plan, use);
    text::TextReport table(text::Colour::off);
    text::memory_rows(table, plan.memory);
    throw Error(
        ExitCode::out_of_memory,
        fmt::format("the run needs {} and this {} has {} for it ({}):\n{}What would fit: {}",
                    readable(need.needed_bytes()),
                    plan.config.execution.device == cost::DeviceKind::cuda ? "GPU" : "machine",
                    readable(need.available_bytes), need.parts(), table.str(),
                    recipe::advice(*verdict.fit)));
}

}  // namespace isoflop::trainer
