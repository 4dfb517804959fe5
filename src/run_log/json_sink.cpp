// run_<name>.json: metrics.jsonl in another order, for programs that read one document.
#include <algorithm>
#include <system_error>

#include "metrics_file.hpp"
#include "replacement_file.hpp"
#include "sink.hpp"

namespace isoflop::run_log {
namespace {

/// The document is rewritten when the run has grown by this share since the last time.
constexpr std::int64_t kGrowthDivisor = 10;

std::uintmax_t file_bytes(const std::filesystem::path& path) {
    std::error_code error;
    const std::uintmax_t bytes = std::filesystem::file_size(path, error);
    if (error) throw_system_error("read", path, error.value());
    return bytes;
}

class JsonSink : public Sink {
public:
    explicit JsonSink(const SinkContext& context)
        : path_(json_path_of(context.run_dir, context.document)),
          metrics_path_(metrics_path_of(context.run_dir)),
          document_(context.document),
          interval_(context.options.log_save_interval),
          iterations_(document_.summary().total_iterations) {
        save(false);
    }

    void iteration(const IterationRecord& /*record*/) override {
        ++iterations_;
        const std::int64_t interval =
            std::max({std::int64_t{1}, interval_, iterations_ / kGrowthDivisor});
        if (iterations_ - iterations_saved_ >= interval) save(false);
    }
    void end(const EndRecord& /*record*/) override { save(true); }

private:
    void save(bool on_disk) {
        iterations_saved_ = iterations_;
        ReplacementFile file(path_);
        document_.write(metrics_path_, file_bytes(metrics_path_),
                        [&](std::string_view text) { file.append(text); });
        file.commit(on_disk);
    }

    std::filesystem::path path_;
    std::filesystem::path metrics_path_;
    const RunDocument& document_;
    std::int64_t interval_;
    std::int64_t iterations_;
    std::int64_t iterations_saved_ = 0;  ///< in the document as last written
};

}  // namespace

std::unique_ptr<Sink> open_json_sink(const SinkContext& context) {
    if (!context.options.save_json) return nullptr;
    return std::make_unique<JsonSink>(context);
}

}  // namespace isoflop::run_log
