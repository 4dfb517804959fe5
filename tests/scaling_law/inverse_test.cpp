// Tokens for a loss: the law and its inverse agree, and what no number of tokens reaches is said.
#include "isoflop/scaling_law/inverse.hpp"

#include <gtest/gtest.h>

#include <cmath>

namespace isoflop::scaling_law {
namespace {

TEST(TokensForLoss, IsTheInverseOfEveryLaw) {
    for (const Law& law : laws()) {
        for (const double n_params : {1e6, 1e8, 7e9, 1e12}) {
            for (const double n_tokens : {1e6, 2e9, 3e11, 1e13}) {
                const double target = loss(law, n_params, n_tokens).total;
                const auto tokens = tokens_for_loss(law, n_params, target);
                ASSERT_TRUE(tokens) << law.id;
                EXPECT_NEAR(loss(law, n_params, *tokens).total / target, 1.0, 1e-14) << law.id;
                // The loss loses digits of the data term, which is the smaller the more tokens.
                const double lost = target / (target - loss_limit(law, n_params));
                EXPECT_NEAR(*tokens / n_tokens, 1.0, 1e-14 * lost) << law.id << " " << n_params;
            }
        }
    }
}

TEST(TokensForLoss, FallWithTheLossAndWithTheSizeOfTheModel) {
    for (const Law& law : laws()) {
        const double target = loss(law, 1e9, 1e10).total;
        EXPECT_GT(*tokens_for_loss(law, 1e9, target - 1e-3), 1e10) << law.id;
        EXPECT_LT(*tokens_for_loss(law, 2e9, target), 1e10) << law.id;
    }
}

TEST(TokensForLoss, ThereAreNoneAtTheLimitOfTheModelAndBelow) {
    for (const Law& law : laws()) {
        const double limit = loss_limit(law, 1e9);
        EXPECT_NEAR(loss(law, 1e9, 1e60).total, limit, 1e-3) << law.id;
        EXPECT_LT(limit, loss(law, 1e9, 1e15).total) << law.id;
        EXPECT_FALSE(tokens_for_loss(law, 1e9, limit)) << law.id;
        EXPECT_FALSE(tokens_for_loss(law, 1e9, limit / 2)) << law.id;
        EXPECT_FALSE(tokens_for_loss(law, 1e9, std::nan(""))) << law.id;
    }
}

}  // namespace
}  // namespace isoflop::scaling_law
