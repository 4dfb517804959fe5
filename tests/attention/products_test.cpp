// The products that a backend issues are those that the cost model predicts, to the last
// multiply-add.
#include "attention_problem.hpp"
#include "isoflop/model/model_reader.hpp"

namespace isoflop::test {
namespace {

std::uint64_t recorded(const device::ProductRecorder& recorder, std::string_view name,
                       cost::Pass pass) {
    std::uint64_t sum = 0;
    for (const auto& entry : recorder.entries()) {
        if (entry.name == name && entry.pass == pass) sum += entry.multiply_adds;
    }
    return sum;
}

std::uint64_t predicted(const std::vector<cost::MatrixProduct>& products, std::string_view name,
                        cost::Pass pass, std::uint64_t layers) {
    std::uint64_t sum = 0;
    for (const auto& product : products) {
        if (product.name == name && product.pass == pass) sum += product.flops() / 2;
    }
    return sum / layers;
}

class AttentionProducts : public testing::TestWithParam<AttentionBackend> {};

TEST_P(AttentionProducts, EqualTheCostModel) {
    const model::ModelConfig config = model::parse_model(R"({
        "model_type": "llama", "hidden_size": 48, "intermediate_size": 64, "num_hidden_layers": 3,
        "num_attention_heads": 6, "num_key_value_heads": 2, "vocab_size": 100,
        "max_position_embeddings": 1024})",
                                                         "test.json")
                                          .config;
    for (const std::int64_t length : {1, 63, 64, 65, 300}) {
        const cost::Execution execution{.micro_batch_size = 2,
                                        .sequence_length = length,
                                        .attention_backend = GetParam(),
                                        .recompute = cost::Recompute::attention,
                                        .device = cost::DeviceKind::cpu};
        const auto products = cost::executed_products(config, execution);
        Problem<float> problem(make_shape(length, length, config.head_dim, true, 6, 2, 2));
        device::ProductRecorder recorder;
        problem.run(GetParam(), 2, &recorder);
        {
            device::ThreadPool pool(1);
            device::Context context(pool);
            context.recorder = &recorder;
            attention::ForwardArguments again = problem.forward_arguments();
            again.pass = cost::Pass::recompute;
            attention::make_backend(GetParam(), device::host_device())
                ->forward(context, problem.shape, again);
        }
        for (const std::string_view name : {"attention.scores", "attention.values"}) {
            for (const auto pass :
                 {cost::Pass::forward, cost::Pass::recompute, cost::Pass::backward}) {
                EXPECT_GT(recorded(recorder, name, pass), 0U);
                EXPECT_EQ(recorded(recorder, name, pass), predicted(products, name, pass, 3))
                    << name << " at length " << length;
            }
        }
    }
}

TEST_P(AttentionProducts, OfAWindowAreThoseOfTheVisitedTiles) {
    const std::pair<std::int64_t, std::int64_t> lengths[] = {
        {300, 300}, {65, 65}, {1, 400}, {100, 700}};
    for (const std::int64_t window : {1, 63, 64, 65, 150, 1000}) {
        for (const auto& [queries, keys] : lengths) {
            const Shape shape = with_window(make_shape(queries, keys, 16, true, 2, 1), window);
            SCOPED_TRACE(describe(shape));
            Problem<float> problem(shape);
            device::ProductRecorder recorder;
            problem.run(GetParam(), 1, &recorder);
            const cost::CorePairs pairs =
                cost::core_pairs({.attention_backend = GetParam(), .device = cost::DeviceKind::cpu},
                                 16, queries, keys, true, window);
            const std::uint64_t per_pair = 2 * 16;
            EXPECT_EQ(recorded(recorder, "attention.scores", cost::Pass::forward),
                      per_pair * pairs.forward_scores);
            EXPECT_EQ(recorded(recorder, "attention.values", cost::Pass::forward),
                      per_pair * pairs.forward_values);
            EXPECT_EQ(recorded(recorder, "attention.scores", cost::Pass::backward),
                      per_pair * pairs.backward_scores);
            EXPECT_EQ(recorded(recorder, "attention.values", cost::Pass::backward),
                      per_pair * pairs.backward_values);
        }
    }
    if (GetParam() != AttentionBackend::manual) {
        EXPECT_EQ(cost::visited_pairs(GetParam(), 256, 256, true, 64), 64U * (64 + 3 * (64 + 63)));
    }
}

INSTANTIATE_TEST_SUITE_P(All, AttentionProducts, testing::ValuesIn(kAllBackends),
                         [](const auto& parameter) {
                             return std::string(to_string(parameter.param));
                         });

}  // namespace
}  // namespace isoflop::test
