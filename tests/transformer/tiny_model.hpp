// A tiny model with everything it needs to run one micro-batch, for tests.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "isoflop/base/philox.hpp"
#include "isoflop/cost/memory_plan.hpp"
#include "isoflop/cost/state_layout.hpp"
#include "isoflop/device/context.hpp"
#include "isoflop/device/planned_memory.hpp"
#include "isoflop/model/model_reader.hpp"
#include "isoflop/model/parameter_layout.hpp"
#include "isoflop/ops/reduction.hpp"
#include "isoflop/sharding/single_device.hpp"
#include "isoflop/transformer/transformer.hpp"

namespace isoflop::testing {

struct TinyOptions {
    std::string model;  ///< JSON of model keys
    DType dtype = DType::float32;
    cost::AttentionBackend backend = cost::AttentionBackend::flash_attn_2;
    cost::Recompute recompute = cost::Recompute::none;
    std::int64_t batch = 2;
    std::int64_t sequence_length = 5;
    std::int64_t loss_chunk = 0;
    int threads = 1;
};

class TinyModel {
public:
    explicit TinyModel(const TinyOptions& options)
        : config(model::parse_model(options.model).config),
          layout(model::parameter_layout(config)),
          state(cost::state_layout(layout, 1)),
          execution(make_execution(options)),
          pool(options.threads),
          context(pool),
          memory(cost::memory_plan(config, layout, execution, cost::kAdamW), execution),
          weights(memory.flat_state(cost::BufferId::weights)),
          gradients(memory.flat_state(cost::BufferId::gradients)),
          strategy(state, weights, gradients),
          transformer({config, execution}, state, memory, context, strategy) {
        fill_weights();
        fill_tokens(options);
    }

    [[nodiscard]] transformer::Batch batch() const {
        return {.tokens = tokens, .targets = targets, .seed = 5, .step = 3, .first_sequence = 2};
    }
    void clear_gradients() { ops::fill(context, 0.0, gradients); }
    /// Summed loss and its gradient.
    double loss_and_gradient() {
        clear_gradients();
        return transformer.forward_backward(batch(), 1.0).sum;
    }

    model::ModelConfig config;
    model::ParameterLayout layout;
    cost::StateLayout state;
    cost::Execution execution;
    device::ThreadPool pool;
    device::Context context;
    device::PlannedMemory memory;
    device::TensorView weights;
    device::TensorView gradients;
    sharding::SingleDevice strategy;
    transformer::Transformer transformer;
    std::vector<std::int32_t> tokens;
    std::vector<std::int32_t> targets;

private:
    static cost::Execution make_execution(const TinyOptions& options) {
        cost::Execution execution;
        execution.micro_batch_size = options.batch;
        execution.sequence_length = options.sequence_length;
        execution.dtype = options.dtype;
        execution.attention_backend = options.backend;
        execution.recompute = options.recompute;
        execution.device = cost::DeviceKind::cpu;
        execution.loss_chunk = options.loss_chunk;
        return execution;
    }

    static double draw(std::uint32_t index, std::uint32_t stream) {
        return to_unit_interval(philox({index, stream, 0, 0}, {1, 2})[0]) - 0.5;
    }

    /// Large enough that every branch matters; norm weights around 1.
    void fill_weights() {
        device::visit_dtype(weights.dtype(), [&](auto zero) {
            using T = decltype(zero);
            const auto all = weights.as<T>();
            for (const cost::StateTensor& tensor : state.tensors) {
                const bool norm = tensor.spec.component == model::Component::norm ||
                                  tensor.short_name.find("_norm") != std::string_view::npos;
                const bool weight = tensor.short_name.find("weight") != std::string_view::npos;
                for (std::int64_t i = 0; i < tensor.spec.elements(); ++i) {
                    const auto at = tensor.offset + static_cast<std::uint64_t>(i);
                    const double value = 0.6 * draw(static_cast<std::uint32_t>(at), 9);
                    all[at] = static_cast<T>(norm && weight ? 1.0 + value : value);
                }
            }
        });
    }

    void fill_tokens(const TinyOptions& options) {
        const auto count = static_cast<std::size_t>(options.batch * options.sequence_length);
        for (std::size_t i = 0; i < count; ++i) {
            const PhiloxCounter words = philox({static_cast<std::uint32_t>(i), 0, 7, 0}, {3, 4});
            tokens.push_back(static_cast<std::int32_t>(
                words[0] % static_cast<std::uint32_t>(config.vocab_size)));
            targets.push_back(static_cast<std::int32_t>(
                words[1] % static_cast<std::uint32_t>(config.vocab_size)));
        }
        targets[1] = -100;  // one position without a target
    }
};

}  // namespace isoflop::testing
