// The timings behind attention_backend=auto, and the file in out_dir that keeps them.
#pragma once

#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "isoflop/attention/attention.hpp"
#include "isoflop/device/context.hpp"

namespace isoflop::attention_lab {

inline constexpr std::string_view kProbeCacheName = "attention_probe.json";

/// Milliseconds of forward and backward.
using ProbeTimes = std::vector<std::pair<cost::AttentionBackend, double>>;

/// The shape itself, or the part of its batch and heads that takes little time; nullopt when one
/// head takes too long.
[[nodiscard]] std::optional<attention::Shape> probe_shape(attention::Shape shape,
                                                          const device::Context& context);

/// Takes about a second. Backends that fail are omitted.
[[nodiscard]] ProbeTimes probe_attention(device::Context& context, const attention::Shape& shape,
                                         DType dtype, bool deterministic,
                                         std::span<const cost::AttentionBackend> backends);

/// Timings by device and shape. They are valid for one build of this program; those of another
/// build are ignored. A file that cannot be read or written causes a warning on standard error.
class ProbeCache {
public:
    explicit ProbeCache(std::filesystem::path file) : file_(std::move(file)) {}
    [[nodiscard]] std::optional<ProbeTimes> find(const std::string& key) const;
    void store(const std::string& key, const ProbeTimes& times) const;

private:
    std::filesystem::path file_;
};

/// The device of the tensors of a run: "NVIDIA H100 80GB HBM3 (sm_90)" or "AMD EPYC (2 threads)".
[[nodiscard]] std::string describe_device(const device::Context& context);

}  // namespace isoflop::attention_lab
