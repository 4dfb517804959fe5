// The parts of resolve(): each reads some keys and fills some members of the config.
#pragma once

#include "families.hpp"
#include "isoflop/model/model_config.hpp"
#include "isoflop/model/model_keys.hpp"

namespace isoflop::model {

/// Sources of the values of a configuration that is being resolved.
struct Resolution {
    const ModelKeys& keys;
    const Family& family;
    bool is_own = false;  ///< no model_type: keys override every choice
    ModelConfig& config;
};

void resolve_experts(const Resolution& part);
void resolve_latent_attention(const Resolution& part);
void resolve_mpt(const Resolution& part);
void resolve_rotary(const Resolution& part);
void resolve_window(const Resolution& part);
/// none, per_head or full_width, or a boolean.
[[nodiscard]] QkNorm parse_qk_norm(const config::Value& value);

}  // namespace isoflop::model
