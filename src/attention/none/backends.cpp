// Linked where the build has no CUDA: there is no device that could ask for a backend.
#include <stdexcept>

#include "attention/backends_cuda.hpp"

namespace isoflop::attention {

std::unique_ptr<Backend> make_cuda_backend(cost::AttentionBackend /*backend*/,
                                           const std::filesystem::path& /*plan_cache*/) {
    throw std::logic_error("this build has no CUDA attention");
}

}  // namespace isoflop::attention
