#include "isoflop/cost/buffer_id.hpp"

#include <gtest/gtest.h>

#include <set>

namespace isoflop::cost {
namespace {

TEST(BufferId, EveryBufferHasItsOwnName) {
    std::set<std::string_view> names;
    for (const BufferKind& kind : kBufferKinds) {
        EXPECT_FALSE(kind.name.empty()) << static_cast<int>(kind.id);
        EXPECT_TRUE(names.insert(kind.name).second) << kind.name;
        EXPECT_EQ(&buffer_kind(kind.id), &kind) << kind.name;
    }
}

TEST(BufferId, ElementTypesFollowTheExecution) {
    Execution execution;
    execution.dtype = DType::bfloat16;
    EXPECT_EQ(element_dtype(ElementKind::storage, execution), DType::bfloat16);
    EXPECT_EQ(element_dtype(ElementKind::gradient, execution), DType::bfloat16);
    EXPECT_EQ(element_dtype(ElementKind::statistics, execution), DType::float32);
    execution.gradient_dtype = DType::float32;
    EXPECT_EQ(element_dtype(ElementKind::gradient, execution), DType::float32);
    EXPECT_EQ(element_dtype(ElementKind::token_ids, execution), std::nullopt);
    EXPECT_EQ(element_bytes(ElementKind::token_ids, execution), 4U);
    execution.dtype = DType::float64;
    EXPECT_EQ(element_dtype(ElementKind::statistics, execution), DType::float64);
}

}  // namespace
}  // namespace isoflop::cost
