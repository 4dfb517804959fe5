// TFLOP/s of the linear layers of gpt2_124m and llama_1b (configs/train), forward and both products
// of backward, as the trainer issues them: same orders, leading dimensions, biases and chunks of
// the loss. Against the data sheet's dense peak, in bf16 and, for comparison, fp32 in tf32.
#include <fmt/format.h>

#include "gpu_benchmark.hpp"
#include "isoflop/cost/memory_plan.hpp"
#include "isoflop/ops/linear.hpp"

namespace isoflop::bench {
namespace {

using device::TensorView;
using nlohmann::ordered_json;

struct Layer {
    std::string_view name;
    bool is_head = false;
};
constexpr std::array kLayers = {Layer{"qkv"}, Layer{"attention_out"}, Layer{"ffn_in"},
                                Layer{"ffn_out"}, Layer{"lm_head", true}};

enum class Direction { forward, input_gradient, weight_gradient };
constexpr std::array kDirections = {std::pair{Direction::forward, "forward"},
                                    std::pair{Direction::input_gradient, "input_gradient"},
                                    std::pair{Direction::weight_gradient, "weight_gradient"}};

struct LayerSize {
    std::int64_t rows = 0, in = 0, out = 0;
    bool bias = false;
};

LayerSize size_of(const recipe::Recipe& config, std::string_view layer) {
    const model::ModelConfig& m = config.model;
    LayerSize size{.rows = config.execution.tokens()};
    if (layer == "qkv") {
        size.in = m.hidden_size;
        size.out = m.query_width() + 2 * m.key_value_width();
        size.bias = m.qkv_bias;
    } else if (layer == "attention_out") {
        size.in = m.attention_output_width();
        size.out = m.hidden_size;
        size.bias = m.attention_output_bias;
    } else if (layer == "ffn_in") {
        size.in = m.hidden_size;
        size.out = m.is_gated() ? 2 * m.intermediate_size : m.intermediate_size;
        size.bias = m.ffn_bias;
    } else if (layer == "ffn_out") {
        size.in = m.intermediate_size;
        size.out = m.hidden_size;
        size.bias = m.ffn_bias;
    } else {
        size.in = m.hidden_size;
        size.out = m.vocab_size;
        size.rows = cost::loss_chunk_tokens(config.execution, m.vocab_size);
    }
    return size;
}

ordered_json measure(Bench& bench, std::string_view model, const Layer& layer, Direction direction,
                     DType dtype) {
    const recipe::Recipe config = machine::recipe_here(train_keys(bench, model));
    const LayerSize size = size_of(config, layer.name);
    const bool in_first = !layer.is_head && config.model.naming == model::TensorNaming::gpt2;
    const DType storage = dtype == DType::tf32 ? DType::float32 : dtype;
    Tensors t(bench);
    const TensorView weight = in_first ? t.normal(storage, {size.in, size.out}, 0.02)
                                       : t.normal(storage, {size.out, size.in}, 0.02);
    const ops::Linear linear{
        .name = layer.name,
        .weight = weight,
        .bias = size.bias ? t.normal(storage, {size.out}, 0.02) : TensorView(),
        .order = in_first ? ops::WeightOrder::in_out : ops::WeightOrder::out_in};
    const TensorView x = t.normal(storage, {size.rows, size.in});
    const TensorView y = t.normal(storage, {size.rows, size.out}, 0.01);
    const TensorView d_weight =
        in_first ? t.zeros(storage, {size.in, size.out}) : t.zeros(storage, {size.out, size.in});
    const TensorView d_bias = size.bias ? t.zeros(storage, {size.out}) : TensorView();
    device::Context& context = bench.context();
    const Timing timing = bench.time([&] {
        switch (direction) {
            case Direction::forward: ops::linear_forward(context, linear, x, y); break;
            case Direction::input_gradient:
                ops::linear_backward_input(context, linear, y, false, x);
                break;
            case Direction::weight_gradient:
                ops::linear_backward_weight(context, linear, x, y, d_weight, d_bias);
                break;
        }
    });
    const double rate = 2.0 * static_cast<double>(size.rows) * static_cast<double>(size.in) *
                        static_cast<double>(size.out) / timing.seconds;
    ordered_json row = {{"model", model},
                        {"layer", layer.name},
                        {"direction", kDirections.at(static_cast<std::size_t>(direction)).second},
                        {"dtype", short_name(dtype)},
                        {"tokens", size.rows},
                        {"in", size.in},
                        {"out", size.out},
                        {"bias", size.bias},
                        {"teraflops", rate * 1e-12},
                        {"of_peak", ratio(rate, bench.peak_flops(dtype))}};
    add_timing(row, "", timing);
    return row;
}

std::vector<Case> all_cases() {
    std::vector<Case> cases;
    for (const DType dtype : {DType::bfloat16, DType::tf32}) {
        for (const std::string_view model : {"gpt2_124m", "llama_1b"}) {
            for (const Layer& layer : kLayers) {
                for (const auto& [direction, name] : kDirections) {
                    cases.push_back(
                        {fmt::format("{}/{}/{}/{}", model, layer.name, name, short_name(dtype)),
                         [=, chosen = direction](Bench& bench) {
                             return measure(bench, model, layer, chosen, dtype);
                         }});
                }
            }
        }
    }
    return cases;
}

}  // namespace

int run_gemm(int argc, char** argv) {
    return run_program(
        argc, argv,
        {.name = "gpu_gemm",
         .help = "TFLOP/s of the linear layers of gpt2_124m and llama_1b, in bf16 and tf32",
         .allow_tf32 = true,
         .columns = {{"tokens", "tokens", 0},
                     {"in", "in", 0},
                     {"out", "out", 0},
                     {"ms", "ms", 4},
                     {"teraflops", "TFLOP/s", 1},
                     {"of_peak", "of peak", 3},
                     {"watts", "W", 0},
                     {"sm_megahertz", "SM MHz", 0}}},
        all_cases());
}

}  // namespace isoflop::bench
