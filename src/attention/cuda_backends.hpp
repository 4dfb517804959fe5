// Constructors of the CUDA backends, for Accelerator::make_attention.
#pragma once

#include <memory>

#include "attention/arguments.hpp"
#include "isoflop/attention/attention.hpp"

namespace isoflop::attention {

[[nodiscard]] std::unique_ptr<Backend> make_flash_attn_2_cuda();
[[nodiscard]] std::unique_ptr<Backend> make_manual_cuda();

/// Throws ConfigError for one that this build does not have.
[[nodiscard]] std::unique_ptr<Backend> make_cuda_backend(cost::AttentionBackend backend);

}  // namespace isoflop::attention
