#include "save_session.hpp"

#include <fmt/format.h>

#include <functional>
#include <nlohmann/json.hpp>
#include <optional>

#include "isoflop/base/error.hpp"

namespace isoflop::trainer {
namespace fs = std::filesystem;
namespace {

/// Runs `work` here and tells the other ranks whether it worked, so that none goes on alone. Also
/// keeps those that wait for a slow disk from counting as lost.
void together(Session& session, const std::function<void()>& work) {
    std::optional<IoError> failure;
    try {
        work();
    } catch (const IoError& error) {
        failure = error;
    }
    const bool failed = session.any_rank(failure.has_value());
    if (failure) throw IoError(*failure);
    if (failed) throw IoError("the checkpoint was given up: another rank could not write its part");
}

}  // namespace

fs::path save_session(Session& session, const fs::path& run_dir, std::int64_t step,
                      const nlohmann::ordered_json& state,
                      const checkpoint::CheckpointOptions& options) {
    session.synchronize();
    const auto weights = session.weight_tensors();
    const auto optimizer_state = session.optimizer_tensors();
    comm::Communicator* ranks = session.communicator();
    if (ranks == nullptr) {
        return checkpoint::write_checkpoint(run_dir, step, weights, optimizer_state, state,
                                            options);
    }
    const bool first = session.is_first_rank();
    fs::path folder;
    try {
        together(session, [&] {
            if (first) checkpoint::begin_checkpoint(run_dir, step);
        });
        together(session, [&] {
            checkpoint::write_shard(run_dir, step, {ranks->rank(), ranks->size()}, weights,
                                    optimizer_state);
        });
        together(session, [&] {
            if (first) {
                folder =
                    checkpoint::commit_checkpoint(run_dir, step, ranks->size(), state, options);
            }
        });
    } catch (const IoError&) {
        if (first) checkpoint::abandon_checkpoint(run_dir, step);
        throw;
    }
    return folder;
}

}  // namespace isoflop::trainer
