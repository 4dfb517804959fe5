// Scaling laws: the papers' tables of compute-optimal runs, and published losses at single points.
#include <array>
#include <cstdio>
#include <span>

#include "cases.hpp"
#include "isoflop/scaling_law/law.hpp"
#include "isoflop/scaling_law/published_tables.hpp"

namespace isoflop::validation {
namespace {

using scaling_law::PowerLawOptimum;
using scaling_law::PublishedOptimum;

constexpr std::string_view kGroup = "scaling laws";

std::string scientific(double value) {
    std::array<char, 32> buffer{};
    const int length = std::snprintf(buffer.data(), buffer.size(), "%.3g", value);
    return {buffer.data(), static_cast<std::size_t>(length)};
}

ValidationCase law_case(std::string name, double expected, double got, double tolerance,
                        std::string unit, std::string source, std::string note = {}) {
    return {.group = std::string(kGroup),
            .name = std::move(name),
            .expected = expected,
            .got = got,
            .tolerance = tolerance,
            .unit = std::move(unit),
            .source = std::move(source),
            .note = std::move(note)};
}

const PowerLawOptimum& power_law(std::string_view id) {
    const std::span<const PowerLawOptimum> laws = scaling_law::power_law_optima();
    for (const PowerLawOptimum& law : laws) {
        if (law.id == id) return law;
    }
    return laws.front();  // a misspelt id makes the cases of its table fail
}

// --- Hoffmann 2022, tables ---------------------------------------------------------------------

struct PublishedTable {
    std::string_view law, label, source;
    std::span<const PublishedOptimum> rows;
    double n_tolerance, d_tolerance;
    std::string_view note;
};

void add_table(Cases& cases, const PublishedTable& table) {
    const PowerLawOptimum& law = power_law(table.law);
    for (const PublishedOptimum& row : table.rows) {
        const std::string at = "Chinchilla " + std::string(table.label) + " at " +
                               scientific(row.compute_flops) + " FLOP, ";
        cases.push_back(law_case(at + "N*", row.n_params, law.n_params(row.compute_flops),
                                 table.n_tolerance, "parameters", std::string(table.source),
                                 std::string(table.note)));
        cases.push_back(law_case(at + "D*", row.n_tokens, law.n_tokens(row.compute_flops),
                                 table.d_tolerance, "tokens", std::string(table.source),
                                 std::string(table.note)));
    }
}

void add_tables(Cases& cases) {
    add_table(cases, {.law = "hoffmann_2022_approach_1",
                      .label = "approach 1",
                      .source = "arXiv 2203.15556, Table 3",
                      .rows = scaling_law::kHoffmannTable3,
                      .n_tolerance = 0.02,
                      .d_tolerance = 0.055,
                      .note = "power law fitted to the table; tokens printed to 2 digits, and 1.5T "
                              "at 67B is 5 % above C / 6 N"});
    add_table(cases, {.law = "hoffmann_2022_approach_2",
                      .label = "approach 2",
                      .source = "arXiv 2203.15556, Table A3",
                      .rows = scaling_law::kHoffmannTableA3Approach2,
                      .n_tolerance = 0.04,
                      .d_tolerance = 0.04,
                      .note = "power law fitted to the table, which is not one exactly"});
    add_table(cases,
              {.law = "hoffmann_2022_approach_3",
               .label = "approach 3",
               .source = "arXiv 2203.15556, Table A3",
               .rows = scaling_law::kHoffmannTableA3Approach3,
               .n_tolerance = 0.04,
               .d_tolerance = 0.04,
               .note = "power law fitted to the table; 175B row at 1.26e25, printed as 1.26e24"});

    const scaling_law::PublishedHeadToHead& published = scaling_law::kHoffmannSectionD4;
    const std::string source = "arXiv 2203.15556, section D.4";
    cases.push_back(
        law_case("Chinchilla head to head at 1e21 FLOP, approach 1", published.approach_1_n_params,
                 power_law("hoffmann_2022_approach_1").n_params(published.compute_flops), 0.03,
                 "parameters", source));
    const scaling_law::Optimum kaplan =
        scaling_law::compute_optimal(scaling_law::law("kaplan_2020"), published.compute_flops);
    cases.push_back(law_case("Chinchilla head to head at 1e21 FLOP, Kaplan",
                             published.kaplan_n_params, kaplan.n_params, 0.03,
                             "non-embedding parameters", source));
}

// --- Closed-form optima ------------------------------------------------------------------------

struct OptimumRow {
    std::string_view law;
    double compute_flops;
    double n_params, n_tokens;
    double loss;  ///< 0: not tabulated
};

// From the closed form of eq. 4 of Hoffmann 2022, evaluated outside this program with each paper's
// constants.
constexpr auto kOptimumRows = std::to_array<OptimumRow>({
    {"besiroglu_2024", 5.76e23, 7.225e10, 1.329e12, 1.9744},
    {"besiroglu_2024", 1e24, 9.586e10, 1.739e12, 0},
    {"besiroglu_2024", 1e25, 3.121e11, 5.341e12, 0},
    {"hoffmann_2022_tex", 5.76e23, 4.036e10, 2.379e12, 1.9184},
});

void add_optima(Cases& cases) {
    for (const OptimumRow& row : kOptimumRows) {
        const scaling_law::Law& law = scaling_law::law(row.law);
        const scaling_law::Optimum optimum = scaling_law::compute_optimal(law, row.compute_flops);
        const std::string at = law.id + " at " + scientific(row.compute_flops) + " FLOP, ";
        const std::string source = law.source + "; optimum: arXiv 2203.15556, eq. 4";
        const std::string note = "expected value kept to 4 digits";
        cases.push_back(
            law_case(at + "N*", row.n_params, optimum.n_params, 1e-3, "parameters", source, note));
        cases.push_back(
            law_case(at + "D*", row.n_tokens, optimum.n_tokens, 1e-3, "tokens", source, note));
        if (row.loss > 0) {
            cases.push_back(
                law_case(at + "loss", row.loss, optimum.loss.total, 1e-3, "nats", source, note));
        }
    }
}

// --- Losses at single points -------------------------------------------------------------------

struct LossRow {
    std::string_view law, name;
    double n_params, n_tokens, loss, tolerance;
    std::string_view source;
};

constexpr std::string_view kSardana = "arXiv 2401.00448 and its code repository";

constexpr auto kLossRows = std::to_array<LossRow>({
    {"besiroglu_2024", "6.89B parameters, 102B tokens", 6885871616, 102.09071549369754e9,
     2.1956968802751047, 1e-12,
     "constants of arXiv 2404.10102; point of dsc180_a06's example plan"},
    {"hoffmann_2022_sardana", "70B parameters, 1T tokens", 70e9, 1e12, 1.9472727897, 1e-9,
     kSardana},
});

void add_losses(Cases& cases) {
    for (const LossRow& row : kLossRows) {
        const scaling_law::LossTerms got =
            scaling_law::loss(scaling_law::law(row.law), row.n_params, row.n_tokens);
        cases.push_back(law_case(std::string(row.law) + " loss, " + std::string(row.name), row.loss,
                                 got.total, row.tolerance, "nats", std::string(row.source)));
    }
}

// Sardana 2024's running example: the Chinchilla-optimal 30B model.
void add_sardana_30b(Cases& cases) {
    constexpr double kCompute = 2.8006219968437453e23;
    const scaling_law::Optimum optimum =
        scaling_law::compute_optimal(scaling_law::law("hoffmann_2022_sardana"), kCompute);
    const std::string at = "hoffmann_2022_sardana, Chinchilla-optimal 30B, ";
    cases.push_back(
        law_case(at + "N*", 30e9, optimum.n_params, 1e-12, "parameters", std::string(kSardana)));
    cases.push_back(law_case(at + "D*", 1.556e12, optimum.n_tokens, 1e-3, "tokens",
                             std::string(kSardana), "published to 4 digits"));
    cases.push_back(law_case(at + "loss", 1.958253360475841, optimum.loss.total, 1e-12, "nats",
                             std::string(kSardana)));
}

}  // namespace

void add_law_cases(Cases& cases) {
    add_tables(cases);
    add_optima(cases);
    add_losses(cases);
    add_sardana_30b(cases);
}

}  // namespace isoflop::validation
