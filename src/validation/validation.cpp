// What a case means, and the order in which they run.
#include "isoflop/validation/validation.hpp"

#include <cmath>

#include "cases.hpp"

namespace isoflop::validation {

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
    add_parameter_cases(cases);
    add_flop_cases(cases);
    add_utilisation_cases(cases);
    add_law_cases(cases);
    return cases;
}

std::vector<ValidationCase> run_compat_validation() {
    std::vector<ValidationCase> cases;
    cases.reserve(128);
    add_compat_cases(cases);
    return cases;
}

}  // namespace isoflop::validation
