// Event files that `tensorboard --logdir` opens, without its library.
//
// A file is a sequence of framed records (TFRecord: length, masked CRC32C of the length, bytes,
// masked CRC32C of the bytes), each a protobuf message tensorflow.Event. Scalars are Summary
// values; their step is the iteration. Tags: loss/train, loss/val, loss/train_eval, lr, grad_norm,
// time_ms, mfu, hfu (both fractions), tokens_per_sec, memory/*, gradients/*.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string_view>

#include "isoflop/run_log/records.hpp"

namespace isoflop::run_log {

struct TensorBoardScalar {
    std::string_view tag;
    double value = 0;
};

class TensorBoardWriter {
public:
    /// Creates events.out.tfevents.<time>.<host>.<pid> in the folder. From the first iteration of a
    /// resumed run on, the viewer drops the values of earlier files: that iteration runs again. The
    /// evaluation before it, which does not, has the same step and is to be added again.
    explicit TensorBoardWriter(const std::filesystem::path& run_dir,
                               std::optional<std::int64_t> resumed_at = std::nullopt);
    ~TensorBoardWriter();
    TensorBoardWriter(TensorBoardWriter&&) noexcept;
    TensorBoardWriter& operator=(TensorBoardWriter&&) noexcept;

    void add(const IterationRecord& record);
    void add(const EvalRecord& record);
    /// One event, written at once.
    void add(std::int64_t step, std::span<const TensorBoardScalar> scalars);

    [[nodiscard]] const std::filesystem::path& path() const;

private:
    struct State;
    std::unique_ptr<State> state_;
};

}  // namespace isoflop::run_log
