// What the tests of the ops share: tensors that own their memory, random values, error norms,
// central differences, and runs on several thread counts.
//
// Every op is tested in float and double against a reference written here in plain double loops.
// Inputs are rounded to float first, so both types see the same numbers. Tolerances: double ops
// repeat the reference up to the order of additions (1e-13); float ops make a few roundings of 6e-8
// per element, of random sign, on terms that do not cancel (1e-6 unless a test says why not).
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "isoflop/device/context.hpp"
#include "isoflop/device/instruction_set.hpp"
#include "isoflop/device/tensor_view.hpp"

namespace isoflop::ops::testing {

using device::Context;
using device::TensorView;
using device::ThreadPool;

using ElementTypes = ::testing::Types<float, double>;

template <class T>
inline constexpr double kTolerance = sizeof(T) == sizeof(float) ? 1e-6 : 1e-13;

/// Values as an op sees them, with their shape.
template <class T>
class Tensor {
public:
    Tensor(std::initializer_list<std::int64_t> shape, T value = T(0))
        : shape_(shape), values_(count(shape), value) {}
    Tensor(std::initializer_list<std::int64_t> shape, const std::vector<double>& values)
        : shape_(shape), values_(values.begin(), values.end()) {
        EXPECT_EQ(values_.size(), count(shape));
    }

    [[nodiscard]] TensorView view() {
        switch (shape_.size()) {
            case 1: return {values_.data(), device::dtype_of<T>(), {shape_[0]}};
            case 2: return {values_.data(), device::dtype_of<T>(), {shape_[0], shape_[1]}};
            default: throw std::logic_error("tests use one or two dimensions");
        }
    }
    [[nodiscard]] std::vector<T>& values() { return values_; }
    [[nodiscard]] std::vector<double> doubles() const { return {values_.begin(), values_.end()}; }

private:
    static std::size_t count(std::initializer_list<std::int64_t> shape) {
        std::int64_t elements = 1;
        for (const std::int64_t extent : shape) elements *= extent;
        return static_cast<std::size_t>(elements);
    }
    std::vector<std::int64_t> shape_;
    std::vector<T> values_;
};

/// Standard normal numbers that a float holds exactly.
inline std::vector<double> random_values(std::int64_t count, std::uint64_t seed, double mean = 0) {
    std::mt19937_64 generator(seed);
    std::normal_distribution<double> normal(mean, 1.0);
    std::vector<double> values(static_cast<std::size_t>(count));
    for (double& value : values) value = static_cast<double>(static_cast<float>(normal(generator)));
    return values;
}

inline std::vector<std::int32_t> random_tokens(std::int64_t count, std::int32_t vocabulary,
                                               std::uint64_t seed) {
    std::mt19937_64 generator(seed);
    std::uniform_int_distribution<std::int32_t> any(0, vocabulary - 1);
    std::vector<std::int32_t> tokens(static_cast<std::size_t>(count));
    for (std::int32_t& token : tokens) token = any(generator);
    return tokens;
}

/// Frobenius norm of the difference over that of the reference, which is floored at 1e-30.
inline double relative_error(const std::vector<double>& actual,
                             const std::vector<double>& reference) {
    EXPECT_EQ(actual.size(), reference.size());
    double difference = 0;
    double norm = 0;
    for (std::size_t i = 0; i < reference.size(); ++i) {
        difference += (actual[i] - reference[i]) * (actual[i] - reference[i]);
        norm += reference[i] * reference[i];
    }
    return std::sqrt(difference) / std::max(std::sqrt(norm), 1e-30);
}

inline double dot(const std::vector<double>& a, const std::vector<double>& b) {
    EXPECT_EQ(a.size(), b.size());
    double total = 0;
    for (std::size_t i = 0; i < a.size(); ++i) total += a[i] * b[i];
    return total;
}

/// Central differences of a scalar function of `point`. With a step of 1e-5 the truncation error is
/// near 1e-10 and the rounding error near 1e-11, relative to values of order 1.
inline std::vector<double> numeric_gradient(
    std::vector<double> point, const std::function<double(const std::vector<double>&)>& function) {
    constexpr double kStep = 1e-5;
    std::vector<double> gradient;
    for (double& coordinate : point) {
        const double center = coordinate;
        coordinate = center + kStep;
        const double above = function(point);
        coordinate = center - kStep;
        const double below = function(point);
        coordinate = center;
        gradient.push_back((above - below) / (2 * kStep));
    }
    return gradient;
}

inline constexpr double kGradientTolerance = 1e-6;

/// Runs `compute` with a pool of one thread.
inline auto single_threaded(const auto& compute) {
    ThreadPool pool(1);
    Context context(pool);
    return compute(context);
}

/// `compute(context)` returns a vector; it must be the same, to the bit, on 1, 2 and 3 threads.
inline void expect_same_bits_on_any_threads(const auto& compute) {
    const auto reference = single_threaded(compute);
    for (const int threads : {2, 3}) {
        ThreadPool pool(threads);
        Context context(pool);
        EXPECT_EQ(compute(context), reference) << threads << " threads";
    }
}

/// Runs `check` once for each instruction set of this machine.
inline void for_each_instruction_set(const std::function<void()>& check) {
    using device::InstructionSet;
    for (const auto set : {InstructionSet::generic, InstructionSet::avx2, InstructionSet::avx512}) {
        if (set > device::best_instruction_set()) continue;
        SCOPED_TRACE(std::string(device::name(set)));
        device::force_instruction_set(set);
        check();
    }
    device::force_instruction_set(device::best_instruction_set());
}

/// `call` must throw `Exception`, whose message has all of `words`.
template <class Exception>
void expect_refused(const std::function<void()>& call, std::initializer_list<std::string> words) {
    try {
        call();
        ADD_FAILURE() << "was not refused";
    } catch (const Exception& error) {
        for (const std::string& word : words) {
            EXPECT_NE(std::string(error.what()).find(word), std::string::npos) << error.what();
        }
    }
}

}  // namespace isoflop::ops::testing
