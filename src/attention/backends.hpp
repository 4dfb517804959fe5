// Constructors of the CPU backends, for make_backend.
#pragma once

#include <memory>

#include "isoflop/attention/attention.hpp"

namespace isoflop::attention {

[[nodiscard]] std::unique_ptr<Backend> make_flash_attn_2_cpu();
[[nodiscard]] std::unique_ptr<Backend> make_sdpa_cpu();
[[nodiscard]] std::unique_ptr<Backend> make_manual_cpu();

}  // namespace isoflop::attention
