#include "support/emulated/emulated_device.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <new>
#include <stdexcept>
#include <string>

#include "isoflop/base/half_precision.hpp"

namespace isoflop::emulated {
namespace {

constexpr std::align_val_t kAlignment{256};

float load(const void* data, DType dtype, std::int64_t index) {
    switch (dtype) {
        case DType::float32: return static_cast<const float*>(data)[index];
        case DType::bfloat16:
            return bfloat16_to_float(static_cast<const std::uint16_t*>(data)[index]);
        case DType::float16:
            return float16_to_float(static_cast<const std::uint16_t*>(data)[index]);
        default: throw std::logic_error("emulated product: no such element type");
    }
}

void store(void* data, DType dtype, std::int64_t index, float value) {
    switch (dtype) {
        case DType::float32: static_cast<float*>(data)[index] = value; return;
        case DType::bfloat16:
            static_cast<std::uint16_t*>(data)[index] = float_to_bfloat16(value);
            return;
        case DType::float16:
            static_cast<std::uint16_t*>(data)[index] = float_to_float16(value);
            return;
        default: throw std::logic_error("emulated product: no such element type");
    }
}

/// A matrix as rows of floats, transposed where asked.
std::vector<float> matrix(const void* data, DType dtype, std::int64_t first, std::int64_t rows,
                          std::int64_t columns, std::int64_t stride, device::Transpose transpose) {
    std::vector<float> values(static_cast<std::size_t>(rows * columns));
    for (std::int64_t row = 0; row < rows; ++row) {
        for (std::int64_t column = 0; column < columns; ++column) {
            const std::int64_t place =
                transpose == device::Transpose::no ? row * stride + column : column * stride + row;
            values[static_cast<std::size_t>(row * columns + column)] =
                load(data, dtype, first + place);
        }
    }
    return values;
}

bool is_multiple(const void* address, std::uint64_t bytes) {
    return reinterpret_cast<std::uintptr_t>(address) % bytes == 0;
}

bool takes_epilogue(const device::DeviceGemm& product) {
    if (product.epilogue == device::Epilogue::none) return true;
    return product.beta == 0 && product.count == 1 && product.shape.k > 0 &&
           product.shape.ldc % 8 == 0 && is_multiple(product.gelu_input, 16) &&
           (product.epilogue == device::Epilogue::gelu || product.bias == nullptr);
}

void require(bool holds, const char* what) {
    if (!holds) throw std::logic_error(std::string("emulated product: ") + what);
}

/// What CudaDevice asks of a product.
void check_product(const device::DeviceGemm& product) {
    const device::GemmShape& shape = product.shape;
    const bool transpose_a = shape.transpose_a == device::Transpose::yes;
    const bool transpose_b = shape.transpose_b == device::Transpose::yes;
    require(shape.lda >= (transpose_a ? shape.m : shape.k) &&
                shape.ldb >= (transpose_b ? shape.k : shape.n) && shape.ldc >= shape.n,
            "a stride is shorter than its rows");
    require(product.bias == nullptr || product.beta == 0, "a bias is added with beta 0 only");
    require(takes_epilogue(product), "not one for this epilogue");
    const std::uint64_t element = size_in_bytes(product.dtype);
    for (const void* address :
         {product.a, product.b, static_cast<const void*>(product.c), product.bias})
        require(is_multiple(address, element), "an address is no multiple of an element");
    require(shape.k > 0 || product.beta == 0 || product.beta == 1, "of no terms with beta");
}

/// GELU in the form with tanh, and its derivative.
struct Gelu {
    float value = 0;
    float derivative = 0;
};
Gelu gelu_tanh(double x) {
    constexpr double kScale = 0.7978845608028654;  // sqrt(2 / pi)
    constexpr double kCubic = 0.044715;
    const double t = std::tanh(kScale * (x + kCubic * x * x * x));
    const double slope = kScale * (1 + 3 * kCubic * x * x);
    return {static_cast<float>(0.5 * x * (1 + t)),
            static_cast<float>(0.5 * (1 + t) + 0.5 * x * (1 - t * t) * slope)};
}

}  // namespace

EmulatedDevice::EmulatedDevice(const device::DeviceOptions& options, int multiprocessors)
    : info_{.name = "emulated GPU",
            .ordinal = options.ordinal,
            .capability_major = 8,
            .capability_minor = 0,
            .multiprocessors = multiprocessors,
            .total_bytes = 8ULL << 30U,
            .runtime = "emulator",
            .element_types = {DType::float32, DType::bfloat16, DType::float16}},
      scratch_(device::kScratchBytes),
      results_(kResultSlots) {}

EmulatedDevice::~EmulatedDevice() {
    for (const auto& [memory, bytes] : blocks_) ::operator delete(memory, kAlignment);
}

std::byte* EmulatedDevice::allocate(std::uint64_t bytes) {
    auto* memory =
        static_cast<std::byte*>(::operator new(std::max<std::uint64_t>(bytes, 1), kAlignment));
    std::memset(memory, 0, bytes);
    blocks_.emplace_back(memory, bytes);
    allocated_ += bytes;
    return memory;
}

void EmulatedDevice::release(std::byte* memory, std::uint64_t /*bytes*/) noexcept {
    const auto block = std::find_if(blocks_.begin(), blocks_.end(),
                                    [&](const auto& each) { return each.first == memory; });
    if (block == blocks_.end()) return;
    allocated_ -= block->second;
    ::operator delete(memory, kAlignment);
    blocks_.erase(block);
}

void EmulatedDevice::copy_in(void* device, const void* host, std::uint64_t bytes) {
    if (bytes > 0) std::memcpy(device, host, bytes);
}
void EmulatedDevice::copy_out(void* host, const void* device, std::uint64_t bytes) {
    if (bytes > 0) std::memcpy(host, device, bytes);
}
void EmulatedDevice::copy(void* to, const void* from, std::uint64_t bytes) {
    if (bytes > 0) std::memmove(to, from, bytes);
}
void EmulatedDevice::fill_zero(void* device, std::uint64_t bytes) {
    if (bytes > 0) std::memset(device, 0, bytes);
}

bool EmulatedDevice::try_gemm(device::ThreadPool& pool, const device::DeviceGemm& product) {
    if (!takes_epilogue(product)) return false;
    gemm(pool, product);
    return true;
}

void EmulatedDevice::gemm(device::ThreadPool& /*pool*/, const device::DeviceGemm& product) {
    check_product(product);
    const device::GemmShape& shape = product.shape;
    for (std::int64_t i = 0; i < product.count; ++i) {
        const std::vector<float> a = matrix(product.a, product.dtype, i * product.stride_a, shape.m,
                                            shape.k, shape.lda, shape.transpose_a);
        const std::vector<float> b = matrix(product.b, product.dtype, i * product.stride_b, shape.k,
                                            shape.n, shape.ldb, shape.transpose_b);
        std::vector<float> sums(static_cast<std::size_t>(shape.n));
        for (std::int64_t row = 0; row < shape.m; ++row) {
            std::fill(sums.begin(), sums.end(), 0.0F);
            for (std::int64_t k = 0; k < shape.k; ++k) {
                const float factor = a[static_cast<std::size_t>(row * shape.k + k)];
                const float* const terms = b.data() + k * shape.n;
                for (std::size_t n = 0; n < sums.size(); ++n) sums[n] += factor * terms[n];
            }
            for (std::int64_t column = 0; column < shape.n; ++column) {
                const std::int64_t place = i * product.stride_c + row * shape.ldc + column;
                float value = product.alpha * sums[static_cast<std::size_t>(column)];
                if (product.beta != 0)
                    value += product.beta * load(product.c, product.dtype, place);
                if (product.bias != nullptr) value += load(product.bias, product.dtype, column);
                if (product.epilogue == device::Epilogue::gelu) {
                    store(product.gelu_input, product.dtype, place, value);
                    value = gelu_tanh(value).value;
                } else if (product.epilogue == device::Epilogue::gelu_gradient) {
                    value *= gelu_tanh(load(product.gelu_input, product.dtype, place)).derivative;
                }
                store(product.c, product.dtype, place, value);
            }
        }
    }
}

device::DeviceMemoryUse EmulatedDevice::memory_use() {
    const std::uint64_t free_bytes = info_.total_bytes - allocated_;
    return {.used_bytes = allocated_,
            .usable_bytes = free_bytes,
            .total_bytes = info_.total_bytes,
            .arena_limit = free_bytes};
}

}  // namespace isoflop::emulated

namespace isoflop::device {

DeviceCount count_gpus() {
    return {.devices = 1, .reason = {}};
}

std::unique_ptr<Device> open_gpu(const DeviceOptions& options) {
    return std::make_unique<emulated::EmulatedDevice>(options);
}

}  // namespace isoflop::device
