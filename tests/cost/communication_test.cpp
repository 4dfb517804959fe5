// Bytes sent per step against the published volumes: with ring collectives, all_reduce of P bytes
// sends 2 (n-1)/n P, reduce_scatter and all_gather half of that (Rajbhandari 2020, section 7).
#include "isoflop/cost/communication.hpp"

#include <gtest/gtest.h>

#include <cmath>

#include "isoflop/cost/state_layout.hpp"
#include "support/shipped_configs.hpp"

namespace isoflop::cost {
namespace {

class Communication : public ::testing::Test {
protected:
    std::uint64_t sent(Parallelism parallelism, std::int64_t ranks, std::int64_t micro_batches) {
        execution_.parallelism = parallelism;
        execution_.world_size = ranks;
        execution_.grad_accum_steps = micro_batches;
        execution_.sequence_length = 64;
        return total_bytes_sent(communication_per_step(layout_, execution_));
    }
    /// (n-1)/n of the padded elements: exact, since units are padded to a multiple of n.
    std::uint64_t hops(std::int64_t ranks) const {
        const auto n = static_cast<std::uint64_t>(ranks);
        return padded_parameters(layout_, ranks) * (n - 1) / n;
    }
    static std::uint64_t unit_hops(const std::vector<model::TensorSpec>& tensors,
                                   std::int64_t ranks) {
        const auto n = static_cast<std::uint64_t>(ranks);
        return place_unit(tensors, ranks).elements * (n - 1) / n;
    }

    model::ParameterLayout layout_ = model::parameter_layout(
        model::read_model_file(test::source_path("configs/models/llama3_8b.jsonc")).config);
    Execution execution_;
};

TEST_F(Communication, FollowsThePublishedVolumes) {
    for (const std::int64_t n : {2, 3, 4, 8, 1000}) {
        for (const std::int64_t m : {1, 4}) {
            const auto steps = static_cast<std::uint64_t>(m);
            const std::uint64_t weights = 2 * hops(n);
            const std::uint64_t gradients = 2 * hops(n);
            EXPECT_EQ(sent(Parallelism::ddp, n, m), 2 * gradients);
            EXPECT_EQ(sent(Parallelism::zero1, n, m), gradients + weights);
            EXPECT_EQ(sent(Parallelism::zero2, n, m), gradients * steps + weights);
            // Backward finds the head and the last block gathered, and needs no embedding.
            const std::uint64_t kept = unit_hops(layout_.embedding, n) +
                                       unit_hops(layout_.head, n) +
                                       unit_hops(layout_.blocks.back().tensors, n);
            EXPECT_EQ(sent(Parallelism::fsdp, n, m),
                      (2 * weights - 2 * kept) * steps + gradients * steps);
            execution_.reshard_after_forward = false;
            EXPECT_EQ(sent(Parallelism::fsdp, n, m), weights + gradients * steps);
            execution_.reshard_after_forward = true;
        }
    }
}

TEST_F(Communication, TiedHeadGathersTheEmbeddingTwice) {
    const std::uint64_t untied = sent(Parallelism::fsdp, 4, 2);
    layout_.tied_head = true;
    EXPECT_EQ(sent(Parallelism::fsdp, 4, 2), untied + 2 * 2 * unit_hops(layout_.embedding, 4));
}

TEST_F(Communication, FsdpSendsLessThanHalfAgainAsMuchAsDdp) {
    EXPECT_LT(2 * sent(Parallelism::fsdp, 8, 1), 3 * sent(Parallelism::ddp, 8, 1));
    EXPECT_GT(sent(Parallelism::fsdp, 8, 1), sent(Parallelism::ddp, 8, 1));
}

TEST_F(Communication, Float32GradientsDoubleTheirVolume) {
    const std::uint64_t plain = sent(Parallelism::ddp, 4, 1);
    execution_.gradient_dtype = DType::float32;
    EXPECT_EQ(sent(Parallelism::ddp, 4, 1), 2 * plain);
}

TEST_F(Communication, OneRankSendsNothing) {
    for (const Parallelism parallelism :
         {Parallelism::ddp, Parallelism::zero1, Parallelism::zero2, Parallelism::fsdp}) {
        EXPECT_EQ(sent(parallelism, 1, 8), 0U);
    }
}

// 1e17 parameters are allowed and 1e6 micro-batches are, but their product in bytes has no place in
// 64 bits.
TEST_F(Communication, IsRefusedBeforeItOverflows) {
    layout_ = {};
    layout_.blocks.push_back({.prefix = "layers.", .is_moe = false, .layers = {}, .tensors = {}});
    layout_.blocks.back().layers.resize(1024);
    layout_.blocks.back().tensors.push_back(
        {.name = "weight", .shape = {1 << 24, 5'800'000}, .is_matmul = true});
    const double parameters = 1024.0 * std::ldexp(5.8e6, 24);
    execution_.dtype = DType::float32;
    execution_.world_size = 1 << 20;
    execution_.parallelism = Parallelism::fsdp;
    execution_.grad_accum_steps = 1'000'000;
    EXPECT_FALSE(traffic_is_countable(layout_, execution_));
    while (!traffic_is_countable(layout_, execution_)) execution_.grad_accum_steps /= 2;
    ASSERT_GE(execution_.grad_accum_steps, 1);
    const double expected = (3.0 - 1.0 / 1024.0) * 4.0 *
                            parameters *  // backward finds the last of 1024 blocks gathered
                            static_cast<double>(execution_.grad_accum_steps);
    const auto bytes =
        static_cast<double>(total_bytes_sent(communication_per_step(layout_, execution_)));
    EXPECT_NEAR(bytes / expected, 1.0, 1e-5);  // (n-1)/n
}

}  // namespace
}  // namespace isoflop::cost
