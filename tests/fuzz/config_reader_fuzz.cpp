// Fuzz target: for all bytes of a configuration file, the reader either refuses them with a proper
// ConfigError or returns a document that keeps its promises. Each check is one function over the
// input; a further layer of the configuration adds its function and one line in
// LLVMFuzzerTestOneInput.
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "isoflop/base/error.hpp"
#include "isoflop/config/jsonc.hpp"
#include "isoflop/model/model_reader.hpp"
#include "isoflop/planner/backward_plan.hpp"
#include "isoflop/planner/model_analysis.hpp"
#include "isoflop/planner/planned_training.hpp"
#include "isoflop/report/model_report.hpp"
#include "isoflop/report/plan_report.hpp"

namespace {

using isoflop::config::Document;
using isoflop::config::Member;
using isoflop::config::SourceLocation;
using isoflop::config::Value;

constexpr std::string_view kFileName = "fuzz.jsonc";

/// Unlike assert, this also stands in a build with NDEBUG.
void require(bool condition, const char* promise) {
    if (condition) return;
    std::fprintf(stderr, "broken promise: %s\n", promise);
    std::abort();
}

/// A refusal names the file, and is short however long the input is.
void check_message(const isoflop::Error& error) {
    const std::string_view message = error.what();
    require(message.starts_with(kFileName), "an error begins with the file name");
    require(message.size() < 2000, "an error is short");
    require(error.exit_code() == isoflop::ExitCode::usage, "an error has the usage exit code");
}

void check_location(const Document& document, SourceLocation location) {
    require(location.line >= 1 && location.column >= 1, "every value has a location");
    const std::string message = document.describe(location, "here");
    require(message.ends_with('^'), "every location can be shown with a caret");
}

void check_value(const Document& document, const Value& value) {
    check_location(document, value.location());
    if (value.is_array()) {
        for (const Value& element : value.as_array()) check_value(document, element);
    }
    if (!value.is_object()) return;
    for (const Member& member : value.as_object()) {
        check_location(document, member.key_location);
        require(value.find(member.key) == &member.value, "every member is found by its key");
        check_value(document, member.value);
    }
}

/// The text of a value reads back as the same value.
void check_round_trip(const Document& document) {
    const std::string text = document.root.to_text();
    const Document again = isoflop::config::parse_jsonc(text, std::string(kFileName));
    require(again.root.to_text() == text, "the text of a value reads back as the same value");
}

/// A number that is none is written by nlohmann/json as null and by fmt as inf or nan.
void check_numbers(const nlohmann::ordered_json& json) {
    if (json.is_number_float())
        require(std::isfinite(json.get<double>()), "every number of a report is finite");
    if (!json.is_structured()) return;
    for (const auto& element : json) check_numbers(element);
}

/// Every model that a file describes is refused with a ConfigError or analysed with finite figures.
void check_model(const Document& document) {
    try {
        const isoflop::model::ModelDescription description = isoflop::model::read_model(document);
        require(isoflop::model::find_inconsistency(description.config).empty(),
                "a model that is read is consistent");
        const auto analysis =
            isoflop::planner::analyze_model(description.config, {}, isoflop::cost::kAdamW);
        require(analysis.parameters.total > 0, "a model has parameters");
        require(analysis.memory.total_bytes() < 1ULL << 63U, "memory does not overflow");
        check_numbers(isoflop::report::model_json(analysis));
    } catch (const isoflop::ConfigError&) {
        // refused
    }
}

/// The same for plans.
void check_plan(const Document& document) {
    using isoflop::recipe::plan_schema;
    try {
        isoflop::recipe::PlanKeys config;
        plan_schema().read(config, document);
        plan_schema().require(config, document);
        const auto plan =
            isoflop::planner::backward_plan(config, isoflop::hardware::GpuTable::builtin());
        check_numbers(isoflop::report::plan_json(plan));
        (void)isoflop::report::plan_text(plan, {.all_conventions = true, .megatron_memory = true});
        (void)isoflop::config::parse_jsonc(isoflop::planner::emit_planned_training(plan),
                                           "train.jsonc");
    } catch (const isoflop::ConfigError&) {
        // refused
    }
}

void check_reader(std::string_view input) {
    Document document;
    try {
        document = isoflop::config::parse_jsonc(std::string(input), std::string(kFileName));
    } catch (const isoflop::ConfigError& error) {
        check_message(error);
        return;
    }
    check_value(document, document.root);
    check_round_trip(document);
    check_model(document);
    check_plan(document);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view input(reinterpret_cast<const char*>(data), size);
    check_reader(input);
    return 0;
}
