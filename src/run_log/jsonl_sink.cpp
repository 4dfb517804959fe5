// metrics.jsonl: every record is a line, appended when it exists.
#include "metrics_file.hpp"
#include "run_log_json.hpp"
#include "sink.hpp"

namespace isoflop::run_log {
namespace {

class JsonlSink : public Sink {
public:
    explicit JsonlSink(const std::filesystem::path& run_dir)
        : path_(metrics_path_of(run_dir)), file_(continue_log(path_)) {}

    void iteration(const IterationRecord& record) override { append(iteration_json(record)); }
    void evaluation(const EvalRecord& record) override { append(eval_json(record)); }
    void checkpoint(const CheckpointRecord& record) override { append(checkpoint_json(record)); }
    void end(const EndRecord& record) override {
        append(end_json(record));
        synchronize(file_, path_);
    }

private:
    void append(const nlohmann::ordered_json& line) { append_line(file_, line, path_); }

    std::filesystem::path path_;
    FileDescriptor file_;
};

}  // namespace

std::unique_ptr<Sink> open_jsonl_sink(const SinkContext& context) {
    return std::make_unique<JsonlSink>(context.run_dir);
}

}  // namespace isoflop::run_log
