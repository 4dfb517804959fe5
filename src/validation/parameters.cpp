// Parameter counts that are published to the last digit: each must be met exactly, from the
// architecture keys of the model's config.json, through the reader that plans use.
#include "cases.hpp"
#include "isoflop/model/model_reader.hpp"
#include "isoflop/model/published_counts.hpp"

namespace isoflop::validation {
namespace {

ValidationCase count_case(const model::PublishedCount& published, std::string_view what,
                          std::int64_t expected, std::int64_t got) {
    return {.group = "parameters",
            .name = std::string(published.model) + ", " + std::string(what),
            .expected = static_cast<double>(expected),
            .got = static_cast<double>(got),
            .tolerance = 0,
            .unit = "parameters",
            .source = std::string(published.source),
            .note = {}};
}

}  // namespace

void add_parameter_cases(Cases& cases) {
    for (const model::PublishedCount& published : model::published_counts()) {
        const model::ModelDescription description =
            model::parse_model(std::string(published.config), std::string(published.model));
        const model::ParameterTotals totals = model::parameter_layout(description.config).totals();
        cases.push_back(count_case(published, "total parameters", published.total, totals.total));
        if (published.active != published.total) {
            cases.push_back(
                count_case(published, "active parameters", published.active, totals.active));
        }
    }
}

}  // namespace isoflop::validation
