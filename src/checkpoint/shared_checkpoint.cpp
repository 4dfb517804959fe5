// One checkpoint by all ranks of a run: each writes its shard, the first rank begins and commits.
#include <exception>

#include "isoflop/base/error.hpp"
#include "isoflop/checkpoint/checkpoint.hpp"

namespace isoflop::checkpoint {
namespace {

/// Runs `work` on this rank and tells the other ranks whether it failed, so that no rank goes on
/// alone. All ranks wait here, so that none counts as lost while another one's disk is slow.
void together(const CheckpointRanks& ranks, const std::function<void()>& work) {
    std::exception_ptr failure;
    try {
        work();
    } catch (...) {  // of any kind: the others wait
        failure = std::current_exception();
    }
    const bool failed = ranks.any_failed(failure != nullptr);
    if (failure) std::rethrow_exception(failure);
    if (failed) throw IoError("the checkpoint was given up: another rank could not write its part");
}

}  // namespace

std::filesystem::path write_checkpoint(const CheckpointRanks& ranks,
                                       const std::filesystem::path& run_dir, std::int64_t step,
                                       std::span<const NamedTensor> weights,
                                       std::span<const NamedTensor> optimizer_state,
                                       const nlohmann::ordered_json& trainer_state,
                                       const CheckpointOptions& options) {
    const bool first = ranks.shard.index == 0;
    std::filesystem::path folder;
    try {
        together(ranks, [&] {
            if (first) begin_checkpoint(run_dir, step);
        });
        together(ranks, [&] { write_shard(run_dir, step, ranks.shard, weights, optimizer_state); });
        together(ranks, [&] {
            if (first)
                folder =
                    commit_checkpoint(run_dir, step, ranks.shard.count, trainer_state, options);
        });
    } catch (...) {
        if (first) abandon_checkpoint(run_dir, step);
        throw;
    }
    return folder;
}

}  // namespace isoflop::checkpoint
