// The graphs given to the real cuDNN, where it can be loaded: without a device it checks them and
// its heuristics recognise the patterns; with a driver that can load kernels, it compiles them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "attention/cudnn/attention_graphs.hpp"
#include "attention/cudnn/plan.hpp"
#include "isoflop/base/error.hpp"

namespace isoflop::test {
namespace {

namespace cudnn = attention::cudnn;
using attention::Shape;

/// Loaded once; null with the reason where it is missing.
const cudnn::Functions* library(std::string& reason) {
    static std::string why;
    static const std::unique_ptr<cudnn::Functions> functions = [] {
        try {
            return std::make_unique<cudnn::Functions>(cudnn::load_functions());
        } catch (const Error& error) {
            why = error.what();
            return std::unique_ptr<cudnn::Functions>();
        }
    }();
    reason = why;
    return functions.get();
}

Shape shape_of(bool causal, std::int64_t kv_heads) {
    return {.batch = 2,
            .query_length = 512,
            .key_length = 512,
            .heads = 8,
            .kv_heads = kv_heads,
            .head_dim = 128,
            .causal = causal,
            .scale = 0.1};
}

cudnn::Layout layout_of(const Shape& shape, std::int64_t heads) {
    return {shape.query_length * heads * shape.head_dim, heads * shape.head_dim, shape.head_dim};
}

class CudnnLibrary : public testing::TestWithParam<std::tuple<bool, std::int64_t>> {
protected:
    void SetUp() override {
        std::string reason;
        functions_ = library(reason);
        if (functions_ == nullptr) GTEST_SKIP() << reason;
        shape_ = shape_of(std::get<0>(GetParam()), std::get<1>(GetParam()));
        queries_ = layout_of(shape_, shape_.heads);
        keys_ = layout_of(shape_, shape_.kv_heads);
    }
    const cudnn::Functions* functions_ = nullptr;
    Shape shape_;
    cudnn::Layout queries_, keys_;
};

TEST_P(CudnnLibrary, TakesTheForwardGraph) {
    cudnn::Graph graph(*functions_);
    cudnn::build_forward(graph, shape_, cudnn::DataType::bfloat16,
                         {queries_, keys_, keys_, queries_});
    EXPECT_EQ(graph.operations(), shape_.causal ? 14U : 10U);
    EXPECT_NO_THROW((void)graph.finalize(nullptr));
}

TEST_P(CudnnLibrary, TakesTheBackwardGraph) {
    for (const bool deterministic : {false, true}) {
        cudnn::Graph graph(*functions_);
        cudnn::build_backward(graph, shape_, cudnn::DataType::float16,
                              {queries_, keys_, keys_, queries_, queries_, queries_, keys_, keys_},
                              deterministic);
        EXPECT_NO_THROW((void)graph.finalize(nullptr));
    }
}

INSTANTIATE_TEST_SUITE_P(MasksAndGroups, CudnnLibrary,
                         testing::Combine(testing::Bool(), testing::Values(8, 2)));

}  // namespace
}  // namespace isoflop::test
