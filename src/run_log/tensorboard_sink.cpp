// Event files for TensorBoard.
#include "isoflop/run_log/tensorboard.hpp"
#include "sink.hpp"

namespace isoflop::run_log {
namespace {

class TensorBoardSink : public Sink {
public:
    explicit TensorBoardSink(const SinkContext& context)
        : writer_(context.run_dir, context.resumed_at) {
        if (!context.resumed_at) return;
        for (const EvalRecord& record : context.document.evaluations_at(*context.resumed_at))
            writer_.add(record);
    }

    void iteration(const IterationRecord& record) override { writer_.add(record); }
    void evaluation(const EvalRecord& record) override { writer_.add(record); }

private:
    TensorBoardWriter writer_;
};

}  // namespace

std::unique_ptr<Sink> open_tensorboard_sink(const SinkContext& context) {
    if (!context.options.tensorboard) return nullptr;
    return std::make_unique<TensorBoardSink>(context);
}

}  // namespace isoflop::run_log
