// Fuzz target: logs of runs, as lines (metrics.jsonl) and as documents (run_NAME.json), those of
// the earlier trainer included.
#include <array>
#include <nlohmann/json.hpp>

#include "fuzz_support.hpp"
#include "isoflop/run_log/compare.hpp"
#include "isoflop/run_log/run_log.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace isoflop;
    using namespace isoflop::fuzz;
    if (size == 0) return 0;
    const bool is_document = (data[0] & 1U) != 0;
    const auto path =
        scratch().put(is_document ? "run_x.json" : "metrics.jsonl", text_of(data + 1, size - 1));
    expect_read_or_refused([&] {
        const run_log::Comparison comparison = run_log::compare_runs(std::array{path});
        (void)run_log::comparison_text(comparison);
        (void)run_log::comparison_json(comparison)
            .dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
        if (!is_document) (void)run_log::derive_run_json(path);
    });
    return 0;
}
