#include "attention/cuda_backends.hpp"
#include "isoflop/base/error.hpp"

namespace isoflop::attention {

std::unique_ptr<Backend> make_cuda_backend(cost::AttentionBackend backend) {
    if (backend == cost::AttentionBackend::flash_attn_2) return make_flash_attn_2_cuda();
    if (backend == cost::AttentionBackend::manual) return make_manual_cuda();
    throw ConfigError("no CUDA kernel yet for attention_backend=" +
                      std::string(to_string(backend)));
}

}  // namespace isoflop::attention
