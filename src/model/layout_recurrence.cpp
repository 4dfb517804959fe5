// Mixers with a state along the sequence: Mamba, Mamba-2, gated delta nets, lightning attention and
// gated short convolutions. Shapes as transformers builds them.
#include "layout_parts.hpp"
#include "tensor_names.hpp"

namespace isoflop::model::parts {
namespace {

constexpr Component kPart = Component::recurrence;

void add_projection(Tensors& tensors, const Names& names, std::int64_t outputs, std::int64_t inputs,
                    bool has_bias = false) {
    add_linear(tensors, names,
               {.outputs = outputs, .inputs = inputs, .component = kPart, .has_bias = has_bias});
}

/// Each channel with a kernel of its own: {channels, 1, kernel}.
void add_convolution(Tensors& tensors, const Names& names, const Recurrence& mixer) {
    tensors.push_back({.name = names.weight,
                       .shape = {mixer.conv_channels(), mixer.conv_kernel},
                       .component = kPart,
                       .depth = 1});
    if (mixer.conv_bias) add_vector(tensors, names.bias, mixer.conv_channels(), kPart);
}

void add_mamba(Tensors& tensors, const RecurrenceNames& names, const Recurrence& mixer) {
    add_projection(tensors, {names.state_input, {}}, mixer.time_step_rank + 2 * mixer.state_size,
                   mixer.inner_width());
    add_projection(tensors, names.time_step, mixer.inner_width(), mixer.time_step_rank, true);
    tensors.push_back({.name = names.decay,
                       .shape = {mixer.inner_width(), mixer.state_size},
                       .component = kPart});
    add_vector(tensors, names.skip, mixer.inner_width(), kPart);
    if (!mixer.norms_time_step) return;
    add_vector(tensors, names.time_step_norm, mixer.time_step_rank, kPart);
    add_vector(tensors, names.input_norm, mixer.state_size, kPart);
    add_vector(tensors, names.output_norm, mixer.state_size, kPart);
}

/// Values of the decay of each head.
void add_head_decays(Tensors& tensors, const RecurrenceNames& names, const Recurrence& mixer) {
    add_vector(tensors, names.time_step_bias, mixer.num_heads, kPart);
    add_vector(tensors, names.decay, mixer.num_heads, kPart);
}

void add_delta_net_inputs(Tensors& tensors, const RecurrenceNames& names, const Recurrence& mixer,
                          std::int64_t hidden) {
    const std::int64_t queries_keys_values = 2 * mixer.key_width() + mixer.inner_width();
    if (mixer.splits_inputs) {
        add_projection(tensors, names.input, queries_keys_values, hidden);
        add_projection(tensors, names.second_input, mixer.inner_width(), hidden);
        add_projection(tensors, names.third_input, mixer.num_heads, hidden);
        add_projection(tensors, names.fourth_input, mixer.num_heads, hidden);
    } else {
        add_projection(tensors, names.input, queries_keys_values + mixer.inner_width(), hidden);
        add_projection(tensors, names.second_input, 2 * mixer.num_heads, hidden);
    }
}

}  // namespace

void add_recurrence(Tensors& tensors, const ModelConfig& config) {
    const RecurrenceNames& names = names_of(config.naming).recurrence;
    const Recurrence& mixer = *config.recurrence;
    const std::int64_t hidden = config.hidden_size;
    const std::int64_t inner = mixer.inner_width();
    switch (mixer.kind) {
        case RecurrenceKind::mamba:
            add_projection(tensors, names.input, 2 * inner, hidden, mixer.projection_bias);
            add_convolution(tensors, names.convolution, mixer);
            add_mamba(tensors, names, mixer);
            break;
        case RecurrenceKind::mamba2:
            add_projection(tensors, names.input,
                           2 * inner + 2 * mixer.key_width() + mixer.num_heads, hidden,
                           mixer.projection_bias);
            add_convolution(tensors, names.convolution, mixer);
            add_head_decays(tensors, names, mixer);
            add_vector(tensors, names.skip, mixer.num_heads, kPart);
            if (mixer.has_norm) add_vector(tensors, names.norm, inner, kPart);
            break;
        case RecurrenceKind::gated_delta_net:
            add_delta_net_inputs(tensors, names, mixer, hidden);
            add_convolution(tensors, names.convolution, mixer);
            add_head_decays(tensors, names, mixer);
            add_vector(tensors, names.norm, mixer.head_dim, kPart);
            break;
        case RecurrenceKind::lightning:
            add_projection(tensors, names.input, 3 * inner, hidden);
            add_projection(tensors, names.second_input, inner, hidden);
            add_vector(tensors, names.norm, inner, kPart);
            break;
        case RecurrenceKind::short_convolution:
            add_projection(tensors, names.input, 3 * inner, hidden, mixer.projection_bias);
            add_convolution(tensors, names.convolution, mixer);
            break;
    }
    add_projection(tensors, names.output, hidden, inner, mixer.output_bias);
}

}  // namespace isoflop::model::parts
