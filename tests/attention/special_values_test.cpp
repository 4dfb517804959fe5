// Saturated and flat softmax, rows without keys, and where Inf and NaN may spread.
#include "attention_problem.hpp"

namespace isoflop::test {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kInf = std::numeric_limits<double>::infinity();

template <class T>
bool row_is_finite(const Tensor<T>& tensor, std::int64_t token, std::int64_t head) {
    for (std::int64_t i = 0; i < tensor.head_dim; ++i) {
        if (!std::isfinite(tensor.at(0, token, head, i))) return false;
    }
    return true;
}

template <class T>
bool row_is_nan(const Tensor<T>& tensor, std::int64_t token, std::int64_t head) {
    for (std::int64_t i = 0; i < tensor.head_dim; ++i) {
        if (!std::isnan(tensor.at(0, token, head, i))) return false;
    }
    return true;
}

TEST(AttentionSpecialValues, SaturatedSoftmaxMatchesTheReference) {
    for (const double amplitude : {30.0, 300.0}) {
        const Shape shape = make_shape(130, 130, 64);
        for (const AttentionBackend backend : kAllBackends) {
            SCOPED_TRACE(std::string(to_string(backend)));
            Problem<double> exact(shape, amplitude);
            exact.run(backend);
            // Scores reach amplitude^2 x 3, and a relative error of a score is an absolute one of
            // its logarithm.
            const double growth = amplitude * amplitude;
            expect_matches(exact, Reference(exact),
                           {.output = 2e-16 * growth, .gradient = 2e-16 * growth, .lse = 1e-14});
            Problem<float> rounded(shape, amplitude);
            rounded.run(backend);
            expect_matches(rounded, Reference(rounded),
                           {.output = 1e-7 * growth, .gradient = 1e-7 * growth, .lse = 1e-5});
        }
    }
}

TEST(AttentionSpecialValues, ConstantInputsAverageTheValues) {
    const Shape shape = make_shape(100, 100, 16, true, 1, 1);
    for (const AttentionBackend backend : kAllBackends) {
        SCOPED_TRACE(std::string(to_string(backend)));
        Problem<float> problem(shape);
        std::fill(problem.q.data.begin(), problem.q.data.end(), 0.5F);
        std::fill(problem.k.data.begin(), problem.k.data.end(), 2.0F);
        std::fill(problem.v.data.begin(), problem.v.data.end(), 3.0F);
        problem.run(backend);
        for (std::int64_t i = 0; i < 100; ++i) {
            EXPECT_NEAR(problem.o.at(0, i, 0, 0), 3.0F, 6e-6);  // 2e-6 relative
            EXPECT_NEAR(problem.lse[static_cast<std::size_t>(i)], 4 + std::log(double(i + 1)),
                        2e-6);
        }
        // All values are equal, so moving weight between keys changes nothing.
        EXPECT_LE(norm(problem.d_q.values()), 1e-4);
        EXPECT_LE(norm(problem.d_k.values()), 1e-4);
    }
}

TEST(AttentionSpecialValues, RowsWithoutKeysAreZeroWithInfiniteLse) {
    const Shape shape = make_shape(150, 40, 8, true, 1, 1);  // the first 110 queries see no key
    for (const AttentionBackend backend : kAllBackends) {
        SCOPED_TRACE(std::string(to_string(backend)));
        Problem<float> problem(shape);
        problem.run(backend);
        for (std::int64_t i = 0; i < 110; ++i) {
            EXPECT_EQ(problem.lse[static_cast<std::size_t>(i)],
                      std::numeric_limits<float>::infinity());
            for (std::int64_t c = 0; c < 8; ++c) {
                EXPECT_EQ(problem.o.at(0, i, 0, c), 0.0F);
                EXPECT_EQ(problem.d_q.at(0, i, 0, c), 0.0F);
            }
        }
        expect_matches(problem, Reference(problem), kFloatTolerance);
    }
}

class AttentionBadNumber : public testing::TestWithParam<double> {};

TEST_P(AttentionBadNumber, InAQueryReachesItsOwnRowOnly) {
    for (const AttentionBackend backend : kAllBackends) {
        for (const std::int64_t bad : {0, 37, 63, 64, 149}) {
            SCOPED_TRACE(std::string(to_string(backend)) + ", query " + std::to_string(bad));
            Problem<float> clean(make_shape(150, 150, 20));
            clean.run(backend);
            Problem<float> problem(clean.shape);
            problem.q.at(0, bad, 1, 3) = static_cast<float>(GetParam());
            problem.run(backend);
            for (std::int64_t i = 0; i < 150; ++i) {
                for (std::int64_t head = 0; head < 2; ++head) {
                    const auto row = static_cast<std::size_t>(head * 150 + i);
                    if (i == bad && head == 1) {
                        EXPECT_TRUE(row_is_nan(problem.o, i, head));
                        EXPECT_FALSE(std::isfinite(problem.lse[row]));
                        continue;
                    }
                    ASSERT_TRUE(row_is_finite(problem.o, i, head)) << i;
                    ASSERT_TRUE(row_is_finite(problem.d_q, i, head)) << i;
                    ASSERT_EQ(problem.o.at(0, i, head, 5), clean.o.at(0, i, head, 5));
                    ASSERT_EQ(problem.lse[row], clean.lse[row]);
                }
            }
            // Keys that the row does not see keep finite gradients.
            for (std::int64_t j = bad + 1; j < 150; ++j) {
                ASSERT_TRUE(row_is_finite(problem.d_k, j, 0)) << j;
                ASSERT_TRUE(row_is_finite(problem.d_v, j, 0)) << j;
            }
        }
    }
}

TEST_P(AttentionBadNumber, InAKeyOrValueDoesNotLeakThroughTheMask) {
    for (const AttentionBackend backend : kAllBackends) {
        for (const std::int64_t bad : {1, 37, 64, 100, 149}) {
            for (const bool in_value : {false, true}) {
                SCOPED_TRACE(std::string(to_string(backend)) + ", key " + std::to_string(bad) +
                             (in_value ? ", value" : ""));
                Problem<float> problem(make_shape(150, 150, 20));
                const Reference reference(problem);
                (in_value ? problem.v : problem.k).at(0, bad, 0, 3) =
                    static_cast<float>(GetParam());
                problem.run(backend);
                for (std::int64_t i = 0; i < bad; ++i) {
                    for (std::int64_t c = 0; c < 20; ++c) {
                        ASSERT_NEAR(problem.o.at(0, i, 0, c), reference.o.at(0, i, 0, c), 1e-5)
                            << i;
                        ASSERT_NEAR(problem.d_q.at(0, i, 1, c), reference.d_q.at(0, i, 1, c), 1e-5)
                            << i;
                    }
                }
                // An infinite key may give a score of -inf, and so the weight 0.
                if (in_value || std::isnan(GetParam())) {
                    EXPECT_FALSE(row_is_finite(problem.o, bad, 0));
                }
            }
        }
    }
}

TEST_P(AttentionBadNumber, OfAKeyOrValueDoesNotReachQueriesWhoseWindowHasPassedIt) {
    constexpr std::int64_t window = 70;
    for (const AttentionBackend backend : kAllBackends) {
        for (const std::int64_t bad : {0, 37, 64}) {
            for (const bool in_value : {false, true}) {
                SCOPED_TRACE(std::string(to_string(backend)) + ", key " + std::to_string(bad) +
                             (in_value ? ", value" : ""));
                Shape shape = with_window(make_shape(200, 200, 20), window);
                shape.soft_cap = 5;
                Problem<float> problem(shape);
                const Reference reference(problem);
                (in_value ? problem.v : problem.k).at(0, bad, 0, 3) =
                    static_cast<float>(GetParam());
                problem.run(backend);
                for (std::int64_t i = bad + window; i < 200; ++i) {
                    for (std::int64_t c = 0; c < 20; ++c) {
                        ASSERT_NEAR(problem.o.at(0, i, 0, c), reference.o.at(0, i, 0, c), 1e-5)
                            << i;
                        ASSERT_NEAR(problem.d_q.at(0, i, 1, c), reference.d_q.at(0, i, 1, c), 1e-5)
                            << i;
                    }
                }
            }
        }
    }
}

TEST_P(AttentionBadNumber, OfAnOutputGradientStaysInTheWindowOfItsRow) {
    for (const AttentionBackend backend : kAllBackends) {
        SCOPED_TRACE(std::string(to_string(backend)));
        Problem<float> problem(with_window(make_shape(200, 200, 20), 66));
        problem.d_o.at(0, 150, 0, 3) = static_cast<float>(GetParam());
        problem.run(backend);
        for (std::int64_t i = 0; i < 200; ++i) {
            EXPECT_EQ(row_is_finite(problem.d_q, i, 0), i != 150) << i;
            EXPECT_EQ(row_is_finite(problem.d_k, i, 0), i > 150 || i <= 150 - 66) << i;
            EXPECT_EQ(row_is_finite(problem.d_v, i, 0), i > 150 || i <= 150 - 66) << i;
        }
    }
}

TEST_P(AttentionBadNumber, InAnOutputGradientReachesNoKeyBeyondItsRow) {
    for (const AttentionBackend backend : kAllBackends) {
        SCOPED_TRACE(std::string(to_string(backend)));
        Problem<float> problem(make_shape(150, 150, 20));
        problem.d_o.at(0, 70, 0, 3) = static_cast<float>(GetParam());
        problem.run(backend);
        for (std::int64_t i = 0; i < 150; ++i) {
            EXPECT_EQ(row_is_finite(problem.d_q, i, 0), i != 70) << i;
            EXPECT_EQ(row_is_finite(problem.d_k, i, 0), i > 70) << i;
            EXPECT_EQ(row_is_finite(problem.d_v, i, 0), i > 70) << i;
        }
    }
}

INSTANTIATE_TEST_SUITE_P(Kinds, AttentionBadNumber, testing::Values(kNan, kInf, -kInf),
                         [](const auto& parameter) {
                             return std::isnan(parameter.param) ? "NaN"
                                    : parameter.param > 0       ? "PositiveInf"
                                                                : "NegativeInf";
                         });

}  // namespace
}  // namespace isoflop::test
