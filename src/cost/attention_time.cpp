#include "isoflop/cost/attention_time.hpp"

#include <algorithm>
#include <array>
#include <string>
#include <string_view>

namespace isoflop::cost {
namespace {

constexpr double kSharedBytesPerClock = 128;
constexpr double kExponentialsPerClock = 16;
constexpr double kElementBytes = 2;
constexpr double kBlockOverheadKeys = 175;
constexpr double kForwardOverlap = 0.65;
constexpr double kBackwardOverlap = 0.5;

struct Architecture {
    std::string_view compute_capability;
    double peak_flops_per_clock;  ///< dense bf16 with fp32 sums, per multiprocessor
    double mma_sync_fraction;     ///< of it that mma.sync reaches
    double fp32_lanes;
};
// NVIDIA's architecture white papers: tensor cores and FP32 units of a multiprocessor.
constexpr std::array kArchitectures = {
    Architecture{"8.0", 2048, 1.0, 64},    Architecture{"8.6", 1024, 1.0, 128},
    Architecture{"8.9", 1024, 1.0, 128},   Architecture{"9.0", 4096, 0.64, 128},
    Architecture{"10.0", 8192, 0.25, 128}, Architecture{"10.3", 8192, 0.25, 128},
    Architecture{"12.0", 1024, 1.0, 128}};

/// GeForce cards add products of 16-bit numbers in fp32 at half the rate of the same chip
/// elsewhere.
bool is_geforce(const hardware::Gpu& gpu) {
    const std::string_view id = gpu.id;
    for (const std::string_view series :
         {"RTX-30", "RTX-40", "RTX-50", "RTX 30", "RTX 40", "RTX 50", "RTX30", "RTX40", "RTX50"}) {
        if (id.starts_with(series)) return true;
    }
    return false;
}

/// Bytes that the warps of a block read from shared memory per score. Each product reads its A
/// operand once per warp and its B operand once per warp.
double shared_bytes_per_score(const AttentionTileShape& tile, double d,
                              AttentionDirection direction) {
    const auto rows = static_cast<double>(tile.query_tile) / static_cast<double>(tile.warps);
    const auto keys = static_cast<double>(tile.key_tile);
    const auto warps = static_cast<double>(tile.warps);
    const double scores = static_cast<double>(tile.query_tile) * keys;
    if (direction == AttentionDirection::forward)
        return warps * (rows * d + 2 * keys * d) * kElementBytes / scores;
    // Five products of a tile whose warps stand 2 by (warps / 2): scores and d_p read rows of two
    // operands, d_v, d_k and d_q read P or dS and one operand; P and dS are written once.
    const double half = warps / 2;
    const double m = static_cast<double>(tile.query_tile);
    const double of_scores = 2 * warps * (m / 2 * d + keys / half * d);
    const double of_keys = 2 * warps * (keys / half * m + m * d / 2);
    const double of_queries = warps * (m / 2 * keys + keys * d / half);
    return (of_scores + of_keys + of_queries) * kElementBytes / scores + 4;
}

/// Part of the time that is spent on scores that count.
double efficiency(const AttentionWorkload& workload, const AttentionTileShape& tile) {
    const auto length = static_cast<double>(workload.sequence_length);
    const double keys = workload.causal ? length / 2 : length;
    const double loop = keys / (keys + kBlockOverheadKeys);
    return workload.causal ? loop * length / (length + static_cast<double>(tile.query_tile)) : loop;
}

double bytes_moved(const AttentionWorkload& workload, AttentionDirection direction) {
    const auto rows = static_cast<double>(workload.batch * workload.sequence_length);
    const auto queries = rows * static_cast<double>(workload.heads * workload.head_dim);
    const auto keys = rows * static_cast<double>(workload.kv_heads * workload.head_dim);
    return direction == AttentionDirection::forward
               ? (2 * queries + 2 * keys) * kElementBytes
               : (4 * queries + 4 * keys) * kElementBytes + 2 * queries * 4;
}

}  // namespace

std::optional<AttentionDevice> attention_device(const hardware::Gpu& gpu) {
    const auto* row =
        std::find_if(kArchitectures.begin(), kArchitectures.end(), [&](const Architecture& each) {
            return each.compute_capability == gpu.compute_capability;
        });
    const auto peak = gpu.dense_peak_flops[static_cast<std::size_t>(DType::bfloat16)];
    if (gpu.vendor != "NVIDIA" || row == kArchitectures.end() || !peak) return std::nullopt;
    const double flops_per_clock = row->peak_flops_per_clock * (is_geforce(gpu) ? 0.5 : 1.0);
    return AttentionDevice{.multiprocessor_hertz = *peak / flops_per_clock,
                           .mma_flops_per_clock = flops_per_clock * row->mma_sync_fraction,
                           .fp32_lanes = row->fp32_lanes,
                           .memory_bandwidth = gpu.memory_bandwidth_bytes_per_s};
}

AttentionTileShape attention_tile(std::int64_t head_dim, AttentionDirection direction) {
    if (direction == AttentionDirection::forward)
        return {.query_tile = head_dim > 128 ? 64 : 128, .key_tile = 64, .warps = 4};
    return {.query_tile = 64, .key_tile = head_dim > 128 ? 64 : 128, .warps = 8};
}

AttentionTime attention_time(const AttentionDevice& device, const AttentionWorkload& workload,
                             AttentionDirection direction) {
    return attention_time(device, workload, direction,
                          attention_tile(workload.head_dim, direction));
}

AttentionTime attention_time(const AttentionDevice& device, const AttentionWorkload& workload,
                             AttentionDirection direction, const AttentionTileShape& tile) {
    const bool forward = direction == AttentionDirection::forward;
    const auto d = static_cast<double>(workload.head_dim);
    const double per_key_tile = d / static_cast<double>(tile.key_tile);
    AttentionTime time;
    time.tensor_core = (forward ? 4 : 10) * d / device.mma_flops_per_clock;
    time.shared_memory = shared_bytes_per_score(tile, d, direction) / kSharedBytesPerClock;
    time.exponential = 1 / kExponentialsPerClock;
    time.fp32 = (forward ? 4.5 + per_key_tile : 6 + 1.5 * per_key_tile) / device.fp32_lanes;
    const double exposed = 1 - (forward ? kForwardOverlap : kBackwardOverlap);
    const double clocks =
        std::max({time.tensor_core + exposed * (time.shared_memory + time.exponential + time.fp32),
                  time.shared_memory, time.exponential, time.fp32});

    const auto length = static_cast<double>(workload.sequence_length);
    const double scores = static_cast<double>(workload.batch * workload.heads) * length * length *
                          (workload.causal ? 0.5 : 1.0);
    time.flops = scores * d * (forward ? 4 : 10);
    if (scores <= 0) return time;
    const double computing =
        scores * clocks / device.multiprocessor_hertz / efficiency(workload, tile);
    const double moving = device.memory_bandwidth > 0
                              ? bytes_moved(workload, direction) / device.memory_bandwidth
                              : 0;
    time.memory_bound = moving > computing;
    time.seconds = std::max(computing, moving);
    return time;
}

}  // namespace isoflop::cost
