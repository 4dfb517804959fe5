// Event files for TensorBoard.
#include "isoflop/run_log/tensorboard.hpp"
#include "sink.hpp"

namespace isoflop::run_log {
namespace {

class TensorBoardSink : public Sink {
public:
    TensorBoardSink(const std::filesystem::path& run_dir, std::optional<std::int64_t> resumed_at)
        : writer_(run_dir, resumed_at) {}

    void iteration(const IterationRecord& record) override { writer_.add(record); }
    void evaluation(const EvalRecord& record) override { writer_.add(record); }

private:
    TensorBoardWriter writer_;
};

}  // namespace

std::unique_ptr<Sink> open_tensorboard_sink(const SinkContext& context) {
    if (!context.options.tensorboard) return nullptr;
    // A run that begins again from its first iteration left nothing that a viewer must forget.
    const bool goes_on = context.resumed_at && *context.resumed_at > 0;
    return std::make_unique<TensorBoardSink>(context.run_dir,
                                             goes_on ? context.resumed_at : std::nullopt);
}

}  // namespace isoflop::run_log
