// Compiled to PTX by compile_with_nvcc.sh; nothing runs it.
#include "simt_emulator/every_word.hpp"

namespace isoflop::simt_test {

template <class T>
void launch_all(float* out, int* counters, const float* in, const T* a, const T* b) {
    simt::launch({.name = "tile_products", .block = {64}, .shared_bytes = 4 * (256 + 128)},
                 tile_products<T>, out, a, b);
    simt::launch({.name = "every_other_word", .grid = {2}, .block = {64}}, every_other_word<T>, out,
                 counters, in);
}

template void launch_all(float*, int*, const float*, const simt::Bfloat16*, const simt::Bfloat16*);
template void launch_all(float*, int*, const float*, const simt::Float16*, const simt::Float16*);

}  // namespace isoflop::simt_test
