#include "comm/add.hpp"

#include "isoflop/base/half_precision.hpp"

namespace isoflop::comm {
namespace {

template <class T>
void add_numbers(T* __restrict sum, const T* __restrict term, std::uint64_t elements) {
    for (std::uint64_t i = 0; i < elements; ++i) sum[i] = sum[i] + term[i];
}

// Rounded after each addition, so that partial sums travel as bfloat16 too.
void add_bfloat16(std::uint16_t* __restrict sum, const std::uint16_t* __restrict term,
                  std::uint64_t elements) {
    for (std::uint64_t i = 0; i < elements; ++i) {
        sum[i] = float_to_bfloat16(bfloat16_to_float(sum[i]) + bfloat16_to_float(term[i]));
    }
}

template <class T>
T* as(std::byte* bytes) {
    return static_cast<T*>(static_cast<void*>(bytes));
}
template <class T>
const T* as(const std::byte* bytes) {
    return static_cast<const T*>(static_cast<const void*>(bytes));
}

}  // namespace

void add_into(SumType type, std::byte* sum, const std::byte* term, std::uint64_t elements) {
    switch (type) {
        case SumType::float32: return add_numbers(as<float>(sum), as<float>(term), elements);
        case SumType::float64: return add_numbers(as<double>(sum), as<double>(term), elements);
        case SumType::bfloat16:
            return add_bfloat16(as<std::uint16_t>(sum), as<std::uint16_t>(term), elements);
    }
}

}  // namespace isoflop::comm
