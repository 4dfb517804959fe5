#include "attention/cpu/tile_kernels.hpp"

#include "attention/cpu/tile_kernel_tables.hpp"
#include "isoflop/device/instruction_set.hpp"

namespace isoflop::attention {

template <class T>
const TileKernels<T>& tile_kernels() {
#if defined(__x86_64__)
    switch (device::active_instruction_set()) {
        case device::InstructionSet::avx512: return tiles_avx512::table(T{});
        case device::InstructionSet::avx2: return tiles_avx2::table(T{});
        case device::InstructionSet::generic: break;
    }
#endif
    return tiles_generic::table(T{});
}

template const TileKernels<float>& tile_kernels<float>();
template const TileKernels<double>& tile_kernels<double>();

}  // namespace isoflop::attention
