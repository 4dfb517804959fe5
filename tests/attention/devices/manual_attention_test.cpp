// Manual attention on a GPU against the reference in double.
#include <cmath>

#include "attention/devices/device_problem.hpp"

namespace isoflop::test {
namespace {

constexpr AttentionBackend kManual = AttentionBackend::manual;

/// 16-bit scores, of up to 4 here, are off by half a unit in the last place, and probabilities by
/// as much relative to themselves; lse is the largest score plus a logarithm.
Tolerance tolerance(DType dtype) {
    const double rounding = rounding_tolerance(dtype);
    if (dtype == DType::float32) return {.output = 3e-6, .gradient = 2e-6, .lse = 1e-5};
    return {.output = 2 * rounding, .gradient = 2 * rounding, .lse = 2 * rounding};
}

class ManualAttentionOnDevice : public DeviceOp {
protected:
    void expect_matches_reference(DType dtype, const Shape& shape) {
        SCOPED_TRACE(std::string(short_name(dtype)) + ", " + describe(shape));
        Problem<double> problem(shape);
        DeviceProblem on_device(*device_, dtype, problem);
        on_device.run(context_, kManual);
        on_device.fetch(problem);
        expect_matches(problem, Reference(problem), tolerance(dtype));
    }
};

TEST_F(ManualAttentionOnDevice, MatchesTheReference) {
    for (const DType dtype : storage_types()) {
        for (const bool causal : {true, false}) {
            expect_matches_reference(dtype, make_shape(1, 1, 4, causal, 1, 1));
            expect_matches_reference(dtype, make_shape(33, 33, 16, causal, 4, 2, 2));
            expect_matches_reference(dtype, make_shape(64, 64, 7, causal, 3, 3));
            expect_matches_reference(dtype, make_shape(5, 40, 24, causal, 6, 1));
            expect_matches_reference(dtype, make_shape(40, 5, 8, causal, 2, 1));
        }
        expect_matches_reference(dtype, make_shape(3, 1500, 8, true, 1, 1));
        expect_matches_reference(dtype, make_shape(9, 9, 300, true, 1, 1));
    }
}

TEST_F(ManualAttentionOnDevice, WindowsAndSoftCapsMatchTheReference) {
    for (const DType dtype : storage_types()) {
        for (const std::int64_t window : {0, 1, 16, 17}) {
            for (const double cap : {0.0, 2.0}) {
                for (const Shape& plain :
                     {make_shape(17, 17, 7, true, 4, 2), make_shape(5, 40, 8, true, 2, 1)}) {
                    Shape shape = with_window(plain, window);
                    shape.soft_cap = cap;
                    shape.scale = 0.5;
                    expect_matches_reference(dtype, shape);
                }
            }
        }
        Shape full = make_shape(20, 33, 16, false, 3, 1);
        full.soft_cap = 2;
        expect_matches_reference(dtype, full);
        expect_matches_reference(dtype, with_window(make_shape(3, 1500, 8, true, 1, 1), 700));
    }
}

TEST_F(ManualAttentionOnDevice, ProbabilitiesOutsideTheWindowAreZero) {
    Problem<double> problem(with_window(make_shape(40, 40, 8, true, 1, 1), 11));
    DeviceProblem on_device(*device_, narrow(DType::bfloat16), problem);
    on_device.run(context_, kManual);
    const std::vector<double> p = on_device.probabilities.values();
    const std::vector<double> d = on_device.d_scores.values();
    for (std::int64_t query = 0; query < 40; ++query) {
        for (std::int64_t key = 0; key < 40; ++key) {
            const auto i = static_cast<std::size_t>(query * 40 + key);
            const bool seen = key <= query && key > query - 11;
            EXPECT_EQ(p[i] != 0, seen) << query << ", " << key;
            EXPECT_TRUE(seen || d[i] == 0) << query << ", " << key;
        }
    }
}

TEST_F(ManualAttentionOnDevice, LengthsOfZeroGiveZeros) {
    for (const Shape& shape : {make_shape(3, 0, 8), make_shape(0, 3, 8), make_shape(0, 0, 8)}) {
        expect_matches_reference(narrow(DType::bfloat16), shape);
    }
}

TEST_F(ManualAttentionOnDevice, MaskedProbabilitiesAreZero) {
    Problem<double> problem(make_shape(20, 17, 8, true, 1, 1));
    DeviceProblem on_device(*device_, narrow(DType::float16), problem);
    on_device.run(context_, kManual);
    const std::vector<double> p = on_device.probabilities.values();
    const std::vector<double> d = on_device.d_scores.values();
    for (std::int64_t query = 0; query < 20; ++query) {
        double sum = 0;
        for (std::int64_t key = 0; key < 17; ++key) {
            const auto i = static_cast<std::size_t>(query * 17 + key);
            if (key > query - 3) {
                EXPECT_EQ(p[i], 0);
                EXPECT_EQ(d[i], 0);
            }
            sum += p[i];
        }
        EXPECT_NEAR(sum, query < 3 ? 0 : 1, 4e-3);  // 17 roundings to 11 bits
    }
}

TEST_F(ManualAttentionOnDevice, BadNumbersOfAQueryStayInItsRow) {
    for (const DType dtype : storage_types()) {
        for (const double bad : {std::nan(""), double{INFINITY}, -double{INFINITY}}) {
            const auto results = [&](bool with_bad) {
                Problem<double> problem(make_shape(40, 40, 12));
                if (with_bad) problem.q.at(0, 21, 1, 3) = bad;
                DeviceProblem on_device(*device_, dtype, problem);
                on_device.run(context_, kManual);
                on_device.fetch(problem);
                return problem;
            };
            const Problem<double> clean = results(false);
            const Problem<double> dirty = results(true);
            EXPECT_TRUE(std::isnan(dirty.o.at(0, 21, 1, 0)));
            EXPECT_FALSE(std::isfinite(dirty.lse[40 + 21]));
            EXPECT_FALSE(std::isfinite(dirty.d_q.at(0, 21, 1, 0)));
            for (std::int64_t head = 0; head < 2; ++head) {
                for (std::int64_t i = 0; i < 40; ++i) {
                    if (head == 1 && i == 21) continue;
                    const auto row = static_cast<std::size_t>(40 * head + i);
                    ASSERT_EQ(dirty.lse[row], clean.lse[row]);
                    for (std::int64_t c = 0; c < 12; ++c) {
                        ASSERT_EQ(dirty.o.at(0, i, head, c), clean.o.at(0, i, head, c));
                        ASSERT_EQ(dirty.d_q.at(0, i, head, c), clean.d_q.at(0, i, head, c));
                    }
                }
            }
        }
    }
}

TEST_F(ManualAttentionOnDevice, LargeScoresSaturate) {
    // Scores of several thousand: beyond exp without its shift.
    Problem<double> problem(make_shape(30, 30, 16, true, 1, 1), 60);
    DeviceProblem on_device(*device_, DType::float32, problem);
    on_device.run(context_, kManual);
    on_device.fetch(problem);
    expect_matches(problem, Reference(problem), {.output = 1e-3, .gradient = 1e-3, .lse = 1e-5});
}

TEST_F(ManualAttentionOnDevice, HasTheSameBitsInAllOrders) {
    for (const DType dtype : storage_types()) {
        expect_same_bits_in_all_orders([&] {
            Shape shape = with_window(make_shape(21, 21, 8, true, 4, 2), 9);
            shape.soft_cap = 2;
            Problem<double> problem(shape);
            DeviceProblem on_device(*device_, dtype, problem);
            on_device.run(context_, kManual);
            return on_device.result_bytes();
        });
    }
}

TEST_F(ManualAttentionOnDevice, RecordsWhatItMultiplies) {
    Problem<double> problem(make_shape(21, 21, 8, true, 4, 2, 2));
    DeviceProblem on_device(*device_, narrow(DType::bfloat16), problem);
    device::ProductRecorder recorder;
    context_.recorder = &recorder;
    on_device.run(context_, kManual);
    context_.recorder = nullptr;
    // Two products forward and four backward, of whole matrices.
    EXPECT_EQ(recorder.total_flops(), 2U * 6 * 2 * 4 * 21 * 21 * 8);
    EXPECT_EQ(recorder.flops_as_planned(), 0U);  // all of them are counted where they are issued
    for (const auto& entry : recorder.entries()) {
        const bool forward = entry.pass == cost::Pass::forward;
        EXPECT_EQ(entry.multiply_adds, (forward ? 1U : 2U) * 2 * 4 * 21 * 21 * 8) << entry.name;
    }
}

TEST_F(ManualAttentionOnDevice, WrongArgumentsAreNamed) {
    Problem<double> problem(make_shape(8, 8, 16));
    DeviceProblem on_device(*device_, narrow(DType::bfloat16), problem);
    const auto backend = attention::make_backend(kManual, *device_);
    attention::ForwardArguments arguments = on_device.forward_arguments(kManual);
    arguments.lse = on_device.probabilities.view();  // bf16, and too large
    EXPECT_THROW(backend->forward(context_, problem.shape, arguments), std::invalid_argument);
    arguments.lse = {};
    EXPECT_NO_THROW(backend->forward(context_, problem.shape, arguments));
    arguments.q.dtype = DType::float64;
    EXPECT_THROW(backend->forward(context_, problem.shape, arguments), std::invalid_argument);
}

}  // namespace
}  // namespace isoflop::test
