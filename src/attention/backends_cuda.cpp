#include "attention/backends_cuda.hpp"
#include "isoflop/base/error.hpp"

namespace isoflop::attention {

std::unique_ptr<Backend> make_cuda_backend(cost::AttentionBackend backend,
                                           const std::filesystem::path& plan_cache) {
    switch (backend) {
        case cost::AttentionBackend::flash_attn_2: return make_flash_attn_2_cuda();
        case cost::AttentionBackend::sdpa: return make_sdpa_cuda(plan_cache);
        case cost::AttentionBackend::manual: return make_manual_cuda();
    }
    throw ConfigError("no such attention backend");
}

}  // namespace isoflop::attention
