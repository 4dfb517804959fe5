// Manual attention on a GPU against the reference in double.
#include <cmath>

#include "attention/attention_problem.hpp"
#include "ops/devices/support.hpp"

namespace isoflop::test {
namespace {

using attention::Heads;
using attention::Shape;
using test::make_shape;
using test::Problem;
using test::Reference;

/// Rows with gaps between them, in device memory.
class DeviceHeads {
public:
    DeviceHeads(device::Device& device, DType dtype, const test::Tensor<float>& from)
        : host_(from),
          memory_(device, dtype, {std::ssize(from.data)}, {from.data.begin(), from.data.end()}) {}

    [[nodiscard]] Heads view() {
        Heads heads = host_.view();
        heads.data = memory_.view().data();
        heads.dtype = memory_.view().dtype();
        return heads;
    }
    [[nodiscard]] test::Tensor<float> fetch() const {
        test::Tensor<float> copy = host_;
        const std::vector<double> values = memory_.values();
        std::transform(values.begin(), values.end(), copy.data.begin(),
                       [](double value) { return static_cast<float>(value); });
        return copy;
    }
    [[nodiscard]] const DeviceTensor& memory() const { return memory_; }

private:
    test::Tensor<float> host_;
    DeviceTensor memory_;
};

/// A problem whose inputs are rounded to the type, and all that the backend needs on the device.
struct DeviceProblem {
    DeviceProblem(device::Device& device, DType type, Problem<float>& problem)
        : dtype(type),
          shape(problem.shape),
          q(device, type, problem.q),
          k(device, type, problem.k),
          v(device, type, problem.v),
          o(device, type, problem.o),
          d_o(device, type, problem.d_o),
          d_q(device, type, problem.d_q),
          d_k(device, type, problem.d_k),
          d_v(device, type, problem.d_v),
          lse(device, DType::float32, {shape.batch, shape.heads, shape.query_length}),
          probabilities(device, type,
                        {shape.batch, shape.heads, shape.query_length, shape.key_length}),
          d_scores(device, type, {shape.batch, shape.heads, shape.query_length, shape.key_length}) {
        problem.q = q.fetch();
        problem.k = k.fetch();
        problem.v = v.fetch();
        problem.d_o = d_o.fetch();
    }

    [[nodiscard]] attention::ForwardArguments forward_arguments() {
        return {.q = q.view(),
                .k = k.view(),
                .v = v.view(),
                .o = o.view(),
                .lse = lse.view(),
                .probabilities = probabilities.view()};
    }
    [[nodiscard]] attention::BackwardArguments backward_arguments() {
        return {.q = q.view(),
                .k = k.view(),
                .v = v.view(),
                .o = {},
                .d_o = d_o.view(),
                .lse = {},
                .probabilities = probabilities.view(),
                .d_q = d_q.view(),
                .d_k = d_k.view(),
                .d_v = d_v.view(),
                .row_sums = {},
                .d_scores = d_scores.view()};
    }
    void run(Context& context) {
        const auto backend =
            attention::make_backend(cost::AttentionBackend::manual, context.device);
        backend->forward(context, shape, forward_arguments());
        backend->backward(context, shape, backward_arguments());
    }
    /// Brings the results to the problem.
    void fetch(Problem<float>& problem) const {
        problem.o = o.fetch();
        problem.d_q = d_q.fetch();
        problem.d_k = d_k.fetch();
        problem.d_v = d_v.fetch();
        const std::vector<double> values = lse.values();
        problem.lse.assign(values.begin(), values.end());
    }

    DType dtype;
    Shape shape;
    DeviceHeads q, k, v, o, d_o, d_q, d_k, d_v;
    DeviceTensor lse, probabilities, d_scores;
};

/// 16-bit scores, of up to 4 here, are off by half a unit in the last place, and probabilities by
/// as much relative to themselves; lse is the largest score plus a logarithm.
test::Tolerance tolerance(DType dtype) {
    const double rounding = rounding_tolerance(dtype);
    if (dtype == DType::float32) return {.output = 3e-6, .gradient = 2e-6, .lse = 1e-5};
    return {.output = 2 * rounding, .gradient = 2 * rounding, .lse = 2 * rounding};
}

class ManualAttentionOnDevice : public DeviceOp {
protected:
    void expect_matches_reference(DType dtype, const Shape& shape) {
        SCOPED_TRACE(std::string(short_name(dtype)) + ", " + test::describe(shape));
        Problem<float> problem(shape);
        DeviceProblem on_device(*device_, dtype, problem);
        on_device.run(context_);
        on_device.fetch(problem);
        // The gap's value is exact in all types.
        test::expect_matches(problem, Reference(problem), tolerance(dtype));
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

TEST_F(ManualAttentionOnDevice, LengthsOfZeroGiveZeros) {
    for (const Shape& shape : {make_shape(3, 0, 8), make_shape(0, 3, 8), make_shape(0, 0, 8)}) {
        expect_matches_reference(narrow(DType::bfloat16), shape);
    }
}

TEST_F(ManualAttentionOnDevice, MaskedProbabilitiesAreZero) {
    Problem<float> problem(make_shape(20, 17, 8, true, 1, 1));
    DeviceProblem on_device(*device_, narrow(DType::float16), problem);
    on_device.run(context_);
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
                Problem<float> problem(make_shape(40, 40, 12));
                if (with_bad) problem.q.at(0, 21, 1, 3) = static_cast<float>(bad);
                DeviceProblem on_device(*device_, dtype, problem);
                on_device.run(context_);
                on_device.fetch(problem);
                return problem;
            };
            const Problem<float> clean = results(false);
            const Problem<float> dirty = results(true);
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
    Problem<float> problem(make_shape(30, 30, 16, true, 1, 1), 60);
    DeviceProblem on_device(*device_, DType::float32, problem);
    on_device.run(context_);
    on_device.fetch(problem);
    test::expect_matches(problem, Reference(problem),
                         {.output = 1e-3, .gradient = 1e-3, .lse = 1e-5});
}

TEST_F(ManualAttentionOnDevice, HasTheSameBitsInAllOrders) {
    for (const DType dtype : storage_types()) {
        expect_same_bits_in_all_orders([&] {
            Problem<float> problem(make_shape(21, 21, 8, true, 4, 2));
            DeviceProblem on_device(*device_, dtype, problem);
            on_device.run(context_);
            return bytes_of(on_device.o.memory(), on_device.lse, on_device.d_q.memory(),
                            on_device.d_k.memory(), on_device.d_v.memory());
        });
    }
}

TEST_F(ManualAttentionOnDevice, RecordsWhatItMultiplies) {
    Problem<float> problem(make_shape(21, 21, 8, true, 4, 2, 2));
    DeviceProblem on_device(*device_, narrow(DType::bfloat16), problem);
    device::ProductRecorder recorder;
    context_.recorder = &recorder;
    on_device.run(context_);
    context_.recorder = nullptr;
    // Two products forward and four backward, of whole matrices.
    EXPECT_EQ(recorder.total_flops(), 2U * 6 * 2 * 4 * 21 * 21 * 8);
}

TEST_F(ManualAttentionOnDevice, WrongArgumentsAreNamed) {
    Problem<float> problem(make_shape(8, 8, 16));
    DeviceProblem on_device(*device_, narrow(DType::bfloat16), problem);
    const auto backend = attention::make_backend(cost::AttentionBackend::manual, *device_);
    attention::ForwardArguments arguments = on_device.forward_arguments();
    arguments.lse = on_device.probabilities.view();  // bf16, and too large
    EXPECT_THROW(backend->forward(context_, problem.shape, arguments), std::invalid_argument);
    arguments.lse = {};
    EXPECT_NO_THROW(backend->forward(context_, problem.shape, arguments));
    arguments.q.dtype = DType::float64;
    EXPECT_THROW(backend->forward(context_, problem.shape, arguments), std::invalid_argument);
}

}  // namespace
}  // namespace isoflop::test
