// The products that attention kernels issue are those that are planned: tensor-core instructions
// counted by the emulator against cost::core_pairs, which plans and recorders use.
#include <gtest/gtest.h>

#include <ostream>
#include <string>
#include <vector>

#include "attention/backends_cuda.hpp"
#include "simt_emulator/simt_host.hpp"
#include "support/emulated/emulated_device.hpp"

namespace isoflop::emulated {
namespace {

using attention::Heads;
using device::TensorView;

struct ProductCase {
    std::int64_t head_dim;
    std::int64_t length;
    bool causal;
    bool deterministic;
    cost::AttentionBackend backend = cost::AttentionBackend::flash_attn_2;
    std::int64_t window = 0;
};

void PrintTo(const ProductCase& each, std::ostream* out) {
    *out << to_string(each.backend) << ", head_dim " << each.head_dim << ", length " << each.length
         << (each.causal ? ", causal" : ", full") << (each.deterministic ? "" : ", with atomics")
         << ", window " << each.window;
}

class AttentionProducts : public ::testing::TestWithParam<ProductCase> {};

/// Multiply-adds of an m16n8k16.
constexpr std::uint64_t kPerInstruction = 16 * 8 * 16;

TEST_P(AttentionProducts, IssuedAreThePlanned) {
    constexpr std::int64_t kHeads = 2;
    const auto& [head_dim, length, causal, deterministic, kind, window] = GetParam();
    EmulatedDevice device;
    device::ThreadPool pool(1);
    device::Context context(pool, device);
    device::ProductRecorder recorder;
    context.recorder = &recorder;
    const attention::Shape shape{.query_length = length,
                                 .key_length = length,
                                 .heads = kHeads,
                                 .kv_heads = 1,
                                 .head_dim = head_dim,
                                 .causal = causal,
                                 .scale = 0.1,
                                 .window = window};
    std::vector<device::DeviceBuffer> memory;
    const auto heads = [&](std::int64_t count) {
        memory.emplace_back(device, static_cast<std::uint64_t>(length * count * head_dim * 2));
        return Heads{memory.back().data(), DType::bfloat16, length * count * head_dim,
                     count * head_dim, head_dim};
    };
    const auto floats = [&](std::int64_t width) {
        memory.emplace_back(device, static_cast<std::uint64_t>(kHeads * length * width * 4));
        return TensorView(memory.back().data(), DType::float32, {1, kHeads, length, width});
    };
    attention::ForwardArguments forward;
    forward.q = heads(kHeads);
    forward.k = heads(1);
    forward.v = heads(1);
    forward.o = heads(kHeads);
    const TensorView rows = floats(1);
    forward.lse = TensorView(rows.data(), DType::float32, {1, kHeads, length});
    attention::BackwardArguments backward;
    backward.q = forward.q;
    backward.k = forward.k;
    backward.v = forward.v;
    backward.o = forward.o;
    backward.lse = forward.lse;
    backward.d_o = heads(kHeads);
    backward.d_q = heads(kHeads);
    backward.d_k = heads(1);
    backward.d_v = heads(1);
    const TensorView sums = floats(1);
    backward.row_sums = TensorView(sums.data(), DType::float32, {1, kHeads, length});
    if (!deterministic) backward.d_q_sums = floats(head_dim);

    const auto backend = attention::make_cuda_backend(kind);
    {
        emulator::Session session(emulator::Options{});
        backend->forward(context, shape, forward);
        EXPECT_EQ(2 * kPerInstruction * session.counters().matrix_products, recorder.total_flops());
    }
    recorder.clear();
    emulator::Session session(emulator::Options{});
    backend->backward(context, shape, backward);
    EXPECT_EQ(2 * kPerInstruction * session.counters().matrix_products, recorder.total_flops());
}

INSTANTIATE_TEST_SUITE_P(
    Shapes, AttentionProducts,
    ::testing::Values(ProductCase{32, 70, true, true, cost::AttentionBackend::sdpa},
                      ProductCase{64, 130, true, true, cost::AttentionBackend::sdpa},
                      ProductCase{64, 130, false, true, cost::AttentionBackend::sdpa},
                      ProductCase{96, 65, true, true, cost::AttentionBackend::sdpa},
                      ProductCase{128, 140, true, true, cost::AttentionBackend::sdpa},
                      ProductCase{256, 40, true, true, cost::AttentionBackend::sdpa},
                      ProductCase{32, 70, true, true}, ProductCase{64, 130, true, true},
                      ProductCase{64, 130, false, false}, ProductCase{96, 65, true, true},
                      ProductCase{96, 65, true, false}, ProductCase{128, 129, true, true},
                      ProductCase{128, 129, true, false}, ProductCase{256, 40, true, true},
                      ProductCase{256, 40, true, false}));

std::vector<ProductCase> windowed_cases() {
    std::vector<ProductCase> cases;
    for (const std::int64_t window : {1, 63, 64, 65, 400}) {
        for (const std::int64_t head_dim : {32, 128, 256}) {
            const std::int64_t length = head_dim == 256 ? 150 : 300;
            for (const auto kind :
                 {cost::AttentionBackend::flash_attn_2, cost::AttentionBackend::sdpa})
                cases.push_back({head_dim, length, true, true, kind, window});
            cases.push_back(
                {head_dim, length, true, false, cost::AttentionBackend::flash_attn_2, window});
        }
    }
    return cases;
}

INSTANTIATE_TEST_SUITE_P(Windows, AttentionProducts, ::testing::ValuesIn(windowed_cases()));

}  // namespace
}  // namespace isoflop::emulated
