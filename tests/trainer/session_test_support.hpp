// A session with the built-in corpus, on one rank or several, for tests.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "comm/local_ranks.hpp"
#include "isoflop/comm/threaded_communicator.hpp"
#include "isoflop/data/token_dataset.hpp"
#include "isoflop/trainer/session.hpp"
#include "support/train_runs.hpp"

namespace isoflop::trainer {

using test::config_of;
using test::Overrides;
using test::plan_of;
using test::tiny_run;

/// Ranks that are threads, with the groups that hybrid sharding needs.
class LocalWorld {
public:
    explicit LocalWorld(int ranks, int shard_size = 0)
        : shard_size_(shard_size == 0 ? ranks : shard_size),
          all_(comm::make_local_group(ranks, comm::kTestTimeoutSeconds)) {
        for (int copy = 0; copy < ranks / shard_size_; ++copy)
            shards_.push_back(comm::make_local_group(shard_size_, comm::kTestTimeoutSeconds));
        for (int part = 0; part < shard_size_; ++part) {
            copies_.push_back(
                comm::make_local_group(ranks / shard_size_, comm::kTestTimeoutSeconds));
        }
    }
    /// To be used once, in the thread of the rank.
    [[nodiscard]] CommunicatorFactory connector(int rank) {
        return [this, rank](sharding::RankGroup group, std::span<std::byte> staging) {
            return std::make_unique<comm::ThreadedCommunicator>(take(group, rank), staging);
        };
    }

private:
    [[nodiscard]] std::unique_ptr<comm::PointToPoint> take(sharding::RankGroup group, int rank) {
        const auto copy = static_cast<std::size_t>(rank / shard_size_);
        const auto part = static_cast<std::size_t>(rank % shard_size_);
        switch (group) {
            case sharding::RankGroup::all: return std::move(all_[static_cast<std::size_t>(rank)]);
            case sharding::RankGroup::shard: return std::move(shards_[copy][part]);
            case sharding::RankGroup::copies: return std::move(copies_[part][copy]);
        }
        return nullptr;
    }

    using Group = std::vector<std::unique_ptr<comm::PointToPoint>>;
    int shard_size_;
    Group all_;
    std::vector<Group> shards_;
    std::vector<Group> copies_;
};

struct TestRun {
    /// One of the ranks that `transport` connects; the only one without.
    explicit TestRun(const Overrides& overrides,
                     std::unique_ptr<comm::PointToPoint> transport = nullptr)
        : data(data::TokenDataset::open("builtin", data::Split::train)),
          ranks(transport ? transport->size() : 1),
          session(plan_of(overrides, ranks), pool, std::move(transport)),
          samples(data, session.plan().config.execution.sequence_length,
                  static_cast<std::uint64_t>(session.plan().config.keys.execution.seed)) {
        session.initialize_from_scratch();
    }
    /// One of `size` ranks, over a communicator that `connect` makes.
    TestRun(const Overrides& overrides, int size, const CommunicatorFactory& connect)
        : data(data::TokenDataset::open("builtin", data::Split::train)),
          ranks(size),
          session(plan_of(overrides, ranks), pool, connect),
          samples(data, session.plan().config.execution.sequence_length,
                  static_cast<std::uint64_t>(session.plan().config.keys.execution.seed)) {
        session.initialize_from_scratch();
    }

    IterationOutcome iterate(std::int64_t iteration, bool with_gradients = false) {
        return session.train_iteration(iteration, samples, with_gradients);
    }

    device::ThreadPool pool{1};
    data::TokenDataset data;
    int ranks;
    Session session;
    data::BatchSampler samples;
};

}  // namespace isoflop::trainer
