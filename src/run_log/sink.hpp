// A place that the records of a run go to: a file of some format, or the console. A sink is one
// file that defines open_<name>_sink, and one line in the list of sinks.cpp. Internal to the layer.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "isoflop/run_log/records.hpp"
#include "isoflop/run_log/run_log.hpp"
#include "run_log_document.hpp"

namespace isoflop::run_log {

/// Every function does nothing unless a sink overrides it. Throws IoError when a record cannot be
/// written.
class Sink {
public:
    Sink() = default;
    virtual ~Sink() = default;
    Sink(const Sink&) = delete;
    Sink& operator=(const Sink&) = delete;

    virtual void iteration(const IterationRecord& /*record*/) {}
    virtual void evaluation(const EvalRecord& /*record*/) {}
    virtual void checkpoint(const CheckpointRecord& /*record*/) {}
    virtual void end(const EndRecord& /*record*/) {}
    /// Text for people that is not recorded.
    virtual void line(std::string_view /*text*/) {}
};

/// What a sink may use. The log outlives its sinks.
struct SinkContext {
    std::filesystem::path run_dir;
    const RunLogOptions& options;
    const RunDocument& document;  ///< everything logged; has a record before the sinks get it
    std::optional<std::int64_t> resumed_at;
};

/// All sinks that the options turn on, in the order of the list, which is that of the calls.
[[nodiscard]] std::vector<std::unique_ptr<Sink>> open_sinks(const SinkContext& context);

}  // namespace isoflop::run_log
