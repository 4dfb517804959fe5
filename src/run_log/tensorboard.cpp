#include "isoflop/run_log/tensorboard.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cmath>
#include <string>
#include <vector>

#include "isoflop/base/file.hpp"
#include "tensorboard_event.hpp"

namespace isoflop::run_log {
namespace {

double seconds_since_epoch() {
    const auto now = std::chrono::system_clock::now().time_since_epoch();
    return std::chrono::duration<double>(now).count();
}

std::string host_name() {
    std::array<char, 256> name{};
    if (::gethostname(name.data(), name.size() - 1) != 0) return "localhost";
    return name.data();
}

/// The folder may contain files of earlier starts of this run; two starts within one second get a
/// number.
std::filesystem::path unused_path(const std::filesystem::path& run_dir, double wall_time) {
    const std::string name = fmt::format("events.out.tfevents.{:.0f}.{}.{}", std::floor(wall_time),
                                         host_name(), ::getpid());
    std::filesystem::path path = run_dir / name;
    for (int number = 1; std::filesystem::exists(path); ++number) {
        path = run_dir / fmt::format("{}.{}", name, number);
    }
    return path;
}

}  // namespace

struct TensorBoardWriter::State {
    std::filesystem::path path;
    FileDescriptor file;

    void write(const std::string& event) const {
        const std::string record = framed_record(event);
        write_all(file, std::as_bytes(std::span(record)), path);
    }
};

TensorBoardWriter::TensorBoardWriter(const std::filesystem::path& run_dir,
                                     std::optional<std::int64_t> resumed_at)
    : state_(std::make_unique<State>()) {
    make_directories(run_dir);
    const double now = seconds_since_epoch();
    state_->path = unused_path(run_dir, now);
    state_->file = create_log(state_->path);
    state_->write(version_event(now));
    if (resumed_at) state_->write(restart_event(now, *resumed_at));
}

TensorBoardWriter::~TensorBoardWriter() = default;
TensorBoardWriter::TensorBoardWriter(TensorBoardWriter&&) noexcept = default;
TensorBoardWriter& TensorBoardWriter::operator=(TensorBoardWriter&&) noexcept = default;

void TensorBoardWriter::add(const IterationRecord& record) {
    std::vector<TensorBoardScalar> scalars{{"loss/train", record.loss},
                                           {"lr", record.lr},
                                           {"grad_norm", record.grad_norm},
                                           {"time_ms", record.time_ms}};
    if (record.utilisation) {
        scalars.push_back({"mfu", record.utilisation->mfu});
        scalars.push_back({"hfu", record.utilisation->hfu});
        scalars.push_back({"tokens_per_sec", record.utilisation->tokens_per_sec});
    }
    if (record.memory) {
        scalars.push_back({"memory/allocated_gb", record.memory->allocated_gb});
        scalars.push_back({"memory/max_allocated_gb", record.memory->max_allocated_gb});
        scalars.push_back({"memory/reserved_gb", record.memory->reserved_gb});
        scalars.push_back({"memory/max_reserved_gb", record.memory->max_reserved_gb});
    }
    if (record.gradients) {
        scalars.push_back({"gradients/mean_layer_norm", record.gradients->mean_layer_norm});
        scalars.push_back({"gradients/max_layer_norm", record.gradients->max_layer_norm});
        scalars.push_back({"gradients/min_layer_norm", record.gradients->min_layer_norm});
        scalars.push_back({"gradients/mean", record.gradients->grad_mean});
        scalars.push_back({"gradients/std", record.gradients->grad_std});
    }
    add(record.iter, scalars);
}

void TensorBoardWriter::add(const EvalRecord& record) {
    const std::array<TensorBoardScalar, 2> scalars{
        {{"loss/val", record.val_loss}, {"loss/train_eval", record.train_loss}}};
    add(record.iter, scalars);
}

void TensorBoardWriter::add(std::int64_t step, std::span<const TensorBoardScalar> scalars) {
    state_->write(scalar_event(seconds_since_epoch(), step, scalars));
}

const std::filesystem::path& TensorBoardWriter::path() const {
    return state_->path;
}

}  // namespace isoflop::run_log
