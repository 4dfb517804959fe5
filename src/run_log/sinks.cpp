#include "sink.hpp"

namespace isoflop::run_log {

// The sinks, in the order in which they get a record. `json` copies iterations from the file of
// `jsonl`, so it comes after it.
#define ISOFLOP_RUN_LOG_SINKS(sink) sink(jsonl) sink(json) sink(tensorboard) sink(console)

// Each returns null when the options turn it off.
#define ISOFLOP_DECLARE(name) std::unique_ptr<Sink> open_##name##_sink(const SinkContext& context);
ISOFLOP_RUN_LOG_SINKS(ISOFLOP_DECLARE)
#undef ISOFLOP_DECLARE

std::vector<std::unique_ptr<Sink>> open_sinks(const SinkContext& context) {
    std::vector<std::unique_ptr<Sink>> sinks;
    const auto add = [&](std::unique_ptr<Sink> sink) {
        if (sink) sinks.push_back(std::move(sink));
    };
#define ISOFLOP_OPEN(name) add(open_##name##_sink(context));
    ISOFLOP_RUN_LOG_SINKS(ISOFLOP_OPEN)
#undef ISOFLOP_OPEN
    return sinks;
}

}  // namespace isoflop::run_log
