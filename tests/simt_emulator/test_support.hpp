// Launches under every scheduling order, and the fault that a planted bug must give.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <vector>

#include "isoflop/device/cuda/simt.hpp"

namespace isoflop::emulator {

inline const std::vector<Options>& all_orders() {
    static const std::vector<Options> orders = {{.order = Order::lockstep},
                                                {.order = Order::warp_greedy},
                                                {.order = Order::random, .seed = 1},
                                                {.order = Order::random, .seed = 2},
                                                {.order = Order::random, .seed = 3}};
    return orders;
}

/// What a launch ended with under the given options.
struct Outcome {
    std::optional<FaultKind> kind;
    std::string message;
    Counters counters;
};

template <class Run>
Outcome outcome_of(const Options& options, const Run& run) {
    Session session(options);
    Outcome outcome;
    try {
        run();
    } catch (const KernelFault& fault) {
        outcome.kind = fault.kind();
        outcome.message = fault.what();
    }
    outcome.counters = session.counters();
    return outcome;
}

/// `run` fails in every order with this kind, and a message with all these parts.
template <class Run>
void expect_fault(FaultKind kind, const std::vector<std::string>& parts, const Run& run) {
    for (const Options& options : all_orders()) {
        const Outcome outcome = outcome_of(options, run);
        EXPECT_EQ(outcome.kind, kind) << outcome.message;
        for (const std::string& part : parts) {
            EXPECT_THAT(outcome.message, testing::HasSubstr(part));
        }
        EXPECT_THAT(outcome.message, testing::HasSubstr("_test.cpp:"));
    }
}

template <class Run>
void expect_no_fault(const Run& run) {
    for (const Options& options : all_orders()) {
        const Outcome outcome = outcome_of(options, run);
        EXPECT_FALSE(outcome.kind.has_value()) << outcome.message;
    }
}

}  // namespace isoflop::emulator
