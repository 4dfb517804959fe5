#include "isoflop/ops/adamw.hpp"

#include <sys/mman.h>

#include "ops/support.hpp"

namespace isoflop::ops::testing {
namespace {

/// One parameter, as the paper writes it, in double.
struct ScalarAdamW {
    double weight = 0;
    double first = 0;
    double second = 0;
    void step(const AdamWOptions& o, bool decay, double gradient) {
        const double g = gradient * o.gradient_scale;
        first = o.beta1 * first + (1 - o.beta1) * g;
        second = o.beta2 * second + (1 - o.beta2) * g * g;
        const auto t = static_cast<double>(o.step);
        const double corrected = first / (1 - std::pow(o.beta1, t));
        const double root = std::sqrt(second / (1 - std::pow(o.beta2, t)));
        weight -=
            o.learning_rate * (corrected / (root + o.eps) + (decay ? o.weight_decay * weight : 0));
    }
};

constexpr AdamWOptions kOptions = {.learning_rate = 1e-2,
                                   .beta1 = 0.9,
                                   .beta2 = 0.95,
                                   .eps = 1e-8,
                                   .weight_decay = 0.1,
                                   .step = 1,
                                   .gradient_scale = 0.5};

/// A matrix, a gap, a vector without decay: offsets and counts are odd on purpose.
const std::vector<AdamWSegment> kSegments = {
    {.offset = 3, .count = 20'001, .weight_decay = true},
    {.offset = 20'011, .count = 31, .weight_decay = false}};
constexpr std::int64_t kSize = 20'050;

bool in_segment(std::int64_t i, const AdamWSegment& segment) {
    return i >= segment.offset && i < segment.offset + segment.count;
}

template <class T>
struct State {
    Tensor<T> weights{{kSize}, random_values(kSize, 1)};
    Tensor<T> first{{kSize}};
    Tensor<T> second{{kSize}};

    void step(Context& context, std::int64_t t) {
        Tensor<T> gradients({kSize}, random_values(kSize, 100 + static_cast<std::uint64_t>(t)));
        AdamWOptions options = kOptions;
        options.step = t;
        adamw(context, options, kSegments,
              {weights.view(), gradients.view(), first.view(), second.view(), {}});
    }
};

template <class T>
class AdamWTest : public ::testing::Test {};
TYPED_TEST_SUITE(AdamWTest, ElementTypes);

TYPED_TEST(AdamWTest, FollowsTheScalarReferenceOverFiftySteps) {
    using T = TypeParam;
    ThreadPool pool(2);
    Context context(pool);
    State<T> state;
    std::vector<ScalarAdamW> reference(kSize);
    const auto start = state.weights.doubles();
    for (std::size_t i = 0; i < start.size(); ++i) reference[i].weight = start[i];
    for (std::int64_t t = 1; t <= 50; ++t) {
        state.step(context, t);
        AdamWOptions options = kOptions;
        options.step = t;
        const auto gradients = random_values(kSize, 100 + static_cast<std::uint64_t>(t));
        for (std::int64_t i = 0; i < kSize; ++i) {
            const auto at = static_cast<std::size_t>(i);
            if (in_segment(i, kSegments[0])) reference[at].step(options, true, gradients[at]);
            if (in_segment(i, kSegments[1])) reference[at].step(options, false, gradients[at]);
        }
    }
    std::vector<double> weights;
    std::vector<double> first;
    std::vector<double> second;
    for (const ScalarAdamW& parameter : reference) {
        weights.push_back(parameter.weight);
        first.push_back(parameter.first);
        second.push_back(parameter.second);
    }
    // Fifty steps of float rounding, each of 6e-8 of the weight: 5e-7 for random signs.
    EXPECT_LE(relative_error(state.weights.doubles(), weights), 2 * kTolerance<T>);
    EXPECT_LE(relative_error(state.first.doubles(), first), 2 * kTolerance<T>);
    EXPECT_LE(relative_error(state.second.doubles(), second), 2 * kTolerance<T>);
    // Elements outside the segments, padding for one, are not touched.
    for (const std::size_t i : {0U, 2U, 20'004U, 20'010U, 20'042U, 20'049U}) {
        EXPECT_EQ(state.weights.doubles()[i], start[i]);
        EXPECT_EQ(state.second.doubles()[i], 0);
    }
}

TYPED_TEST(AdamWTest, DecayIsDecoupledFromTheGradient) {
    using T = TypeParam;
    ThreadPool pool(1);
    Context context(pool);
    Tensor<T> weights({2}, {4, 4});
    Tensor<T> zero({2});
    Tensor<T> first({2});
    Tensor<T> second({2});
    const std::vector<AdamWSegment> segments = {{0, 1, true}, {1, 1, false}};
    adamw(context, kOptions, segments,
          {weights.view(), zero.view(), first.view(), second.view(), {}});
    // Without a gradient the weight shrinks by lr * decay, and no moment learns of it.
    EXPECT_NEAR(static_cast<double>(weights.values()[0]), 4 * (1 - 1e-3), 4 * kTolerance<T>);
    EXPECT_EQ(weights.values()[1], T(4));
    EXPECT_EQ(first.values()[0], T(0));
    EXPECT_EQ(second.values()[0], T(0));
}

TYPED_TEST(AdamWTest, FirstStepMovesByTheLearningRate) {
    using T = TypeParam;
    ThreadPool pool(1);
    Context context(pool);
    Tensor<T> weights({3}, {1, 1, 1});
    Tensor<T> gradients({3}, {1e-3, -5, 1e4});
    Tensor<T> first({3});
    Tensor<T> second({3});
    const std::vector<AdamWSegment> segments = {{0, 3, false}};
    adamw(context, kOptions, segments,
          {weights.view(), gradients.view(), first.view(), second.view(), {}});
    const double tolerance = 1e-2 * 2e-5 + kTolerance<T>;  // eps against a root of 5e-4
    EXPECT_NEAR(static_cast<double>(weights.values()[0]), 0.99, tolerance);
    EXPECT_NEAR(static_cast<double>(weights.values()[1]), 1.01, tolerance);
    EXPECT_NEAR(static_cast<double>(weights.values()[2]), 0.99, tolerance);
}

TEST(AdamW, ThreadsChangeNoBit) {
    expect_same_bits_on_any_threads([](Context& context) {
        State<float> state;
        for (std::int64_t t = 1; t <= 3; ++t) state.step(context, t);
        return state.weights.values();
    });
}

/// Memory of 2^32 floats that exists only where it is written.
class HugeVector {
public:
    static constexpr std::int64_t kCount = std::int64_t{1} << 32U;
    HugeVector()
        : data_(mmap(nullptr, kBytes, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)) {}
    ~HugeVector() {
        if (available()) munmap(data_, kBytes);
    }
    HugeVector(const HugeVector&) = delete;
    HugeVector& operator=(const HugeVector&) = delete;
    [[nodiscard]] bool available() const { return data_ != MAP_FAILED; }
    [[nodiscard]] TensorView view() const { return {data_, DType::float32, {kCount}}; }
    [[nodiscard]] float& at(std::int64_t i) const { return static_cast<float*>(data_)[i]; }

private:
    static constexpr std::size_t kBytes = sizeof(float) * std::size_t{kCount};
    void* data_;
};

TEST(AdamW, OffsetsBeyond32BitsReachTheirElement) {
    const HugeVector weights;
    const HugeVector gradients;
    const HugeVector first;
    const HugeVector second;
    for (const HugeVector* vector : {&weights, &gradients, &first, &second}) {
        if (!vector->available()) GTEST_SKIP() << "no address space for 64 GiB";
    }
    ThreadPool pool(1);
    Context context(pool);
    const std::int64_t last = HugeVector::kCount - 1;
    gradients.at(last) = 1;
    const std::vector<AdamWSegment> segments = {{last - 99, 100, true}};
    adamw(context, kOptions, segments,
          {weights.view(), gradients.view(), first.view(), second.view(), {}});
    EXPECT_NEAR(static_cast<double>(weights.at(last)), -0.01, 1e-6);
    EXPECT_EQ(weights.at(last - 1), 0.0F);
}

TEST(AdamW, RefusesWrongArguments) {
    ThreadPool pool(1);
    Context context(pool);
    Tensor<float> flat({10});
    Tensor<float> shorter({9});
    const auto run = [&](const AdamWOptions& options, std::vector<AdamWSegment> segments) {
        adamw(context, options, segments, {flat.view(), flat.view(), flat.view(), flat.view(), {}});
    };
    expect_refused<std::invalid_argument>(
        [&] {
            run(kOptions, {{8, 3, true}});
        },
        {"adamw", "segment at 8 of 3", "10"});
    expect_refused<std::invalid_argument>([&] { run(kOptions, {{-1, 3, true}}); }, {"at -1"});
    expect_refused<std::invalid_argument>(
        [&] {
            run(kOptions, {{4, 4, true}, {0, 5, true}});
        },
        {"segment at 4", "ends at 5"});
    AdamWOptions options = kOptions;
    options.step = 0;
    expect_refused<std::invalid_argument>([&] { run(options, {}); }, {"step is 0"});
    options = kOptions;
    options.beta2 = 1;
    expect_refused<std::invalid_argument>([&] { run(options, {}); }, {"beta2 is 1"});
    expect_refused<std::invalid_argument>(
        [&] {
            adamw(context, kOptions, {},
                  {flat.view(), shorter.view(), flat.view(), flat.view(), {}});
        },
        {"gradients", "[9]", "[10]"});
}

}  // namespace
}  // namespace isoflop::ops::testing
