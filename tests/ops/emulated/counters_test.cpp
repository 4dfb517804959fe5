// What the kernels of the ops move, by the emulator's counters: no more than they must, in
// whole sectors.
#include "isoflop/ops/activation.hpp"
#include "isoflop/ops/adamw.hpp"
#include "isoflop/ops/cross_entropy.hpp"
#include "isoflop/ops/dropout.hpp"
#include "isoflop/ops/embedding.hpp"
#include "isoflop/ops/random.hpp"
#include "isoflop/ops/reduction.hpp"
#include "isoflop/ops/rope.hpp"
#include "ops/devices/norm_problem.hpp"
#include "ops/devices/qk_norm_problem.hpp"
#include "simt_emulator/simt_host.hpp"
#include "support/emulated/emulated_device.hpp"

namespace isoflop::test {
namespace {

using emulated::EmulatedDevice;
using model::Activation;
using model::Normalization;

/// Global memory was moved in `bytes` in all, at most 2 % more, by accesses that use all of the
/// 32-byte sectors that they touch, but for `unused_bytes` of these.
void expect_minimal_traffic(const emulator::Counters& counters, std::uint64_t bytes,
                            std::uint64_t unused_bytes = 0) {
    const emulator::MemoryCount& load = counters.global_load;
    const emulator::MemoryCount& store = counters.global_store;
    const std::uint64_t moved = load.bytes + store.bytes;
    EXPECT_GE(moved, bytes);
    EXPECT_LE(static_cast<double>(moved), 1.02 * static_cast<double>(bytes));
    EXPECT_LE(static_cast<double>(32 * (load.sectors + store.sectors)),
              1.02 * static_cast<double>(bytes) + static_cast<double>(unused_bytes));
    EXPECT_EQ(counters.global_atomic.bytes, 0U);
}

class OpCounters : public DeviceOp {
protected:
    template <class Run>
    static emulator::Counters counters_of(const Run& run) {
        const emulator::Session session;
        run();
        return session.counters();
    }
    template <class Run>
    static void expect_traffic(std::uint64_t bytes, const Run& run) {
        expect_minimal_traffic(counters_of(run), bytes);
    }
};

std::vector<double> constant(std::int64_t size, double value) {
    return std::vector<double>(static_cast<std::size_t>(size), value);
}

TEST_F(OpCounters, ElementwiseMovesNoMoreThanItMust) {
    constexpr std::int64_t kSize = 8192;
    for (const DType dtype : storage_types()) {
        SCOPED_TRACE(short_name(dtype));
        const DeviceTensor x(*device_, dtype, {kSize}, random_values(kSize, 6));
        const DeviceTensor out(*device_, dtype, {kSize});
        const std::uint64_t bytes = x.view().bytes();
        expect_traffic(3 * bytes, [&] { ops::add(context_, x.view(), x.view(), out.view()); });
        expect_traffic(2 * bytes, [&] { ops::scale(context_, 2, out.view()); });
        expect_traffic(bytes, [&] { ops::fill(context_, 2, out.view()); });
        for (const DType other : storage_types()) {
            if (other == dtype) continue;
            const DeviceTensor to(*device_, other, {kSize});
            expect_traffic(bytes + to.view().bytes(),
                           [&] { ops::copy(context_, x.view(), to.view()); });
        }
    }
}

TEST_F(OpCounters, ActivationsMoveNoMoreThanTheyMust) {
    for (const DType dtype : storage_types()) {
        SCOPED_TRACE(short_name(dtype));
        const DeviceTensor gate_up(*device_, dtype, {16, 1024}, random_values(16 * 1024, 6));
        const DeviceTensor out(*device_, dtype, {16, 512}, random_values(16 * 512, 7));
        const DeviceTensor d_gate_up(*device_, dtype, {16, 1024});
        const TensorView& x = gate_up.view();
        const TensorView& d_x = d_gate_up.view();
        const std::uint64_t bytes = out.view().bytes();
        constexpr Activation kind = Activation::silu;
        expect_traffic(4 * bytes, [&] { ops::activation_forward(context_, kind, x, d_x); });
        expect_traffic(6 * bytes, [&] { ops::activation_backward(context_, kind, x, x, d_x); });
        expect_traffic(3 * bytes, [&] { ops::gated_forward(context_, kind, x, out.view()); });
        expect_traffic(5 * bytes, [&] { ops::gated_backward(context_, kind, x, out.view(), d_x); });
    }
}

TEST_F(OpCounters, DropoutMovesNoMoreThanItMust) {
    const ops::DropoutKey key{.seed = 7};
    for (const DType dtype : storage_types()) {
        SCOPED_TRACE(short_name(dtype));
        const DeviceTensor x(*device_, dtype, {16, 512}, random_values(16 * 512, 3));
        expect_traffic(2 * x.view().bytes(),
                       [&] { ops::dropout(context_, key, 0.3, 4, x.view()); });
    }
}

TEST_F(OpCounters, NormsMoveNoMoreThanTheyMust) {
    // Many rows for each block, as a real GPU has them.
    EmulatedDevice device({}, 1);
    Context context(pool_, device);
    for (const NormCase& c :
         {NormCase{DType::float32, Normalization::rmsnorm, false, 512, 1024, 0},
          NormCase{DType::bfloat16, Normalization::layernorm, true, 512, 4096, 0}}) {
        SCOPED_TRACE(describe(c));
        const NormProblem problem(device, c);
        const std::uint64_t bytes = problem.x.view().bytes();
        const std::uint64_t statistics = problem.statistics.view().bytes();
        const std::uint64_t parameters = (c.has_bias ? 2 : 1) * problem.weight.view().bytes();
        const auto expect = [](std::uint64_t minimum, const auto& run) {
            const emulator::Counters counters = counters_of(run);
            expect_minimal_traffic(counters, minimum);
            EXPECT_EQ(counters.shared_load.extra_wavefronts, 0U);
            EXPECT_EQ(counters.shared_store.extra_wavefronts, 0U);
        };
        expect(4 * bytes + statistics + parameters, [&] { problem.add_forward(context); });
        // The weight is read, gradients of weight and bias are read and written.
        const std::uint64_t others = statistics + problem.weight.view().bytes() + 2 * parameters;
        expect(3 * bytes + others, [&] { problem.backward(context, false); });
    }
}

TEST_F(OpCounters, NormsOfHeadsMoveNoMoreThanTheyMust) {
    EmulatedDevice device({}, 1);
    Context context(pool_, device);
    for (const DType dtype : {DType::float32, DType::bfloat16}) {
        const QkNormCase c{dtype, 6, 2, 128, 256, 0, 0};
        SCOPED_TRACE(describe(c));
        const QkNormProblem problem(device, c);
        const std::uint64_t bytes = problem.packed.view().bytes();
        const auto expect = [&](const auto& run) {
            const emulator::Counters counters = counters_of(run);
            // A warp's statistics are a part of a sector, whose rest its neighbours want.
            const std::uint64_t statistics = problem.statistics.view().bytes();
            const std::uint64_t heads_of_warp = dtype == DType::float32 ? 1 : 2;
            expect_minimal_traffic(counters, 3 * bytes + statistics,
                                   32 * statistics / 4 / heads_of_warp);
            EXPECT_EQ(counters.shared_load.extra_wavefronts, 0U);
            EXPECT_EQ(counters.shared_store.extra_wavefronts, 0U);
        };
        expect([&] { problem.forward(context); });
        expect([&] { problem.backward(context); });
    }
}

TEST_F(OpCounters, RopeMovesNoMoreThanItMust) {
    constexpr std::int64_t kRows = 33;
    constexpr std::int64_t kWidth = 8 * 128;
    model::ModelConfig config;
    config.num_attention_heads = 8;
    config.num_key_value_heads = 8;
    config.head_dim = 128;
    config.hidden_size = kWidth;
    ops::RopeTable table(config, kRows);
    const std::vector<float> angles = table.device_values();
    const DeviceTensor copy(*device_, DType::float32, {std::ssize(angles)},
                            {angles.begin(), angles.end()});
    table.set_device_copy(static_cast<const float*>(copy.view().data()));
    const ops::RopeShape shape{.heads = 8, .head_dim = 128, .sequence_length = kRows};
    for (const DType dtype : storage_types()) {
        SCOPED_TRACE(short_name(dtype));
        const DeviceTensor packed(*device_, dtype, {kRows, kWidth},
                                  random_values(kRows * kWidth, 5));
        const emulator::Counters counters =
            counters_of([&] { ops::rope_forward(context_, table, shape, packed.view()); });
        expect_minimal_traffic(counters, 2 * packed.view().bytes() + copy.view().bytes());
        EXPECT_EQ(counters.shared_load.extra_wavefronts, 0U);
    }
}

TEST_F(OpCounters, AdamWMovesEachTensorOnce) {
    const std::int64_t size = 1 << 16;
    const std::vector<ops::AdamWSegment> segments{{.offset = 0, .count = size / 2},
                                                  {.offset = size / 2, .count = size / 2}};
    for (const DType dtype : storage_types()) {
        SCOPED_TRACE(short_name(dtype));
        const DeviceTensor weights(*device_, dtype, {size}, random_values(size, 1));
        const DeviceTensor gradients(*device_, dtype, {size}, random_values(size, 2));
        const DeviceTensor first(*device_, DType::float32, {size}, random_values(size, 3));
        const DeviceTensor second(*device_, DType::float32, {size}, constant(size, 1));
        const DeviceTensor master(*device_, DType::float32, {size}, random_values(size, 1));
        const bool has_master = dtype != DType::float32;
        const ops::AdamWState state{.weights = weights.view(),
                                    .gradients = gradients.view(),
                                    .first_moment = first.view(),
                                    .second_moment = second.view(),
                                    .master_weights = has_master ? master.view() : TensorView{}};
        // Moments and weights of fp32 are read and written, and rounded weights written.
        const std::uint64_t updated = 6 * 4 + (has_master ? 2 : 0);
        expect_traffic(size * (updated + size_in_bytes(dtype)), [&] {
            ops::adamw(context_, {.learning_rate = 0.01, .step = 3}, segments, state);
        });
    }
}

TEST_F(OpCounters, CrossEntropyReadsRowsTwiceAndWritesThemOnce) {
    const std::int64_t width = 1 << 14;
    const DeviceTokens targets(*device_, {5, 6});
    for (const DType dtype : storage_types()) {
        const DeviceTensor logits(*device_, dtype, {2, width}, random_values(2 * width, 3));
        const DeviceTensor losses(*device_, DType::float32, {2});
        const emulator::Counters counters = counters_of([&] {
            ops::cross_entropy_forward_backward(context_, logits.view(), targets.view(),
                                                ops::kIgnoreIndex, 0.5, losses.view());
        });
        // All threads of a row read its target: 4 bytes each, but one sector per warp.
        const std::uint64_t sectors = counters.global_load.sectors + counters.global_store.sectors;
        EXPECT_LE(static_cast<double>(32 * sectors),
                  1.02 * static_cast<double>(3 * logits.view().bytes()));
    }
}

TEST_F(OpCounters, EmbeddingMovesEachRowOnce) {
    const DeviceTokens tokens(*device_, ops::testing::random_tokens(64, 64, 1));
    for (const DType dtype : storage_types()) {
        const DeviceTensor table(*device_, dtype, {64, 1024}, random_values(64 * 1024, 2));
        const DeviceTensor out(*device_, dtype, {64, 1024});
        const emulator::Counters counters = counters_of([&] {
            ops::embedding_forward(context_, tokens.view(), table.view(), {}, 64, 0, out.view());
        });
        // Each lane of a warp asks for the token, which is one sector.
        EXPECT_EQ(counters.global_store.sectors * 32, out.view().bytes());
        EXPECT_LE(static_cast<double>(counters.global_load.sectors * 32),
                  1.02 * static_cast<double>(out.view().bytes()));
    }
}

TEST_F(OpCounters, NormalDeviatesAreWrittenOnce) {
    for (const DType dtype : storage_types()) {
        const DeviceTensor x(*device_, dtype, {1 << 14});
        expect_traffic(x.view().bytes(), [&] { ops::fill_normal(context_, 1, 2, 3, 0, x.view()); });
    }
}

TEST_F(OpCounters, SumsReadElementsOnce) {
    for (const DType dtype : storage_types()) {
        const std::int64_t size = 1 << 18;
        const DeviceTensor x(*device_, dtype, {size}, constant(size, 1));
        expect_traffic(x.view().bytes(),
                       [&] { EXPECT_EQ(ops::sum(context_, x.view()), static_cast<double>(size)); });
    }
}

}  // namespace
}  // namespace isoflop::test
