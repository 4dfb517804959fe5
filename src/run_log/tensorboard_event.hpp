// tensorflow.Event messages and their framing, byte for byte. Internal to the layer.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "isoflop/run_log/tensorboard.hpp"

namespace isoflop::run_log {

/// The first event of every file: Event{wall_time = 1, file_version = 3}.
[[nodiscard]] std::string version_event(double wall_time);
/// Event{wall_time = 1, step = 2, session_log = 7}: the run starts again at this step.
[[nodiscard]] std::string restart_event(double wall_time, std::int64_t step);
/// Event{wall_time = 1, step = 2, summary = 5}.
[[nodiscard]] std::string scalar_event(double wall_time, std::int64_t step,
                                       std::span<const TensorBoardScalar> scalars);

/// TFRecord: length (8 bytes), masked CRC32C of those, the bytes, masked CRC32C of the bytes.
[[nodiscard]] std::string framed_record(std::string_view bytes);

}  // namespace isoflop::run_log
