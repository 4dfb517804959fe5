#include "attention/cuda_backends.hpp"
#include "isoflop/base/error.hpp"

namespace isoflop::attention {

std::unique_ptr<Backend> make_cuda_backend(cost::AttentionBackend backend) {
    throw ConfigError("no CUDA kernel yet for attention_backend=" +
                      std::string(to_string(backend)));
}

}  // namespace isoflop::attention
