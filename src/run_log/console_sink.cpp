// Progress lines on the console.
#include <fmt/format.h>

#include "isoflop/run_log/progress.hpp"
#include "sink.hpp"

namespace isoflop::run_log {
namespace {

class ConsoleSink : public Sink {
public:
    ConsoleSink(std::ostream& console, const ProgressOptions& options)
        : progress_(console, options) {}

    void iteration(const IterationRecord& record) override { progress_.iteration(record); }
    void evaluation(const EvalRecord& record) override {
        progress_.evaluation(record, record.best_val_loss, record.pause_ms);
    }
    void checkpoint(const CheckpointRecord& record) override {
        progress_.line(fmt::format("saved {}", record.path), record.pause_ms);
    }
    void line(std::string_view text) override { progress_.line(text); }

private:
    Progress progress_;
};

}  // namespace

std::unique_ptr<Sink> open_console_sink(const SinkContext& context) {
    if (context.options.console == nullptr) return nullptr;
    auto sink = std::make_unique<ConsoleSink>(*context.options.console, context.options.progress);
    sink->line(fmt::format("run {}", context.run_dir.string()));
    return sink;
}

}  // namespace isoflop::run_log
