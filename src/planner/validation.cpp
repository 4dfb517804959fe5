// What a case means, and the order in which they run.
#include "isoflop/planner/validation.hpp"

#include <cmath>

#include "validation_cases.hpp"

namespace isoflop::planner {

double ValidationCase::error() const {
    const double difference = got - expected;
    return relative ? difference / expected : difference;
}

bool ValidationCase::passed() const {
    // Written so that NaN fails. Compared without the division, so that a tolerance of 0 means
    // equal.
    const double allowed = relative ? tolerance * std::abs(expected) : tolerance;
    return std::abs(got - expected) <= allowed;
}

std::vector<ValidationCase> run_validation() {
    std::vector<ValidationCase> cases;
    cases.reserve(256);
    validation::add_parameter_cases(cases);
    validation::add_flop_cases(cases);
    validation::add_utilisation_cases(cases);
    validation::add_law_cases(cases);
    return cases;
}

std::vector<ValidationCase> run_compat_validation() {
    std::vector<ValidationCase> cases;
    cases.reserve(128);
    validation::add_compat_cases(cases);
    return cases;
}

}  // namespace isoflop::planner
