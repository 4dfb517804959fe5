#include "device/cpu_device.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <stdexcept>

#include "isoflop/device/arena.hpp"
#include "isoflop/device/tensor_view.hpp"

namespace isoflop::device {
namespace {

/// Pieces of a sum that ranks share.
constexpr int kSumParts = 8;
/// FLOPs that one core which is not the fastest does in a second, attention included.
constexpr double kTrialFlopsPerThread = 5e8;

DeviceInfo describe_cpu() {
    const CpuInfo cpu = cpu_info();
    DeviceInfo info;
    info.name = cpu.model_name;
    info.total_bytes = cpu.memory_bytes;
    info.runtime = cpu.instruction_set;
    info.element_types = {DType::float32, DType::float64};
    info.sum_parts = kSumParts;
    info.log_sum_exp_error = 2e-5;
    info.rate_unit = {"GFLOP/s", 1e9};
    return info;
}

void move_bytes(void* to, const void* from, std::uint64_t bytes) {
    if (bytes > 0 && to != from) std::memmove(to, from, bytes);
}

/// Every row becomes the bias, to which the product is then added: no pass over C afterwards.
template <class T>
void start_with_bias(ThreadPool& pool, const GemmShape& shape, const T* bias, T* c) {
    constexpr std::int64_t kElementsPerPiece = 1 << 14;
    const std::int64_t rows =
        std::max<std::int64_t>(1, kElementsPerPiece / std::max<std::int64_t>(1, shape.n));
    pool.parallel_ranges(shape.m, rows, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t row = begin; row < end; ++row)
            std::copy_n(bias, shape.n, c + row * shape.ldc);
    });
}

template <class T>
void multiply(ThreadPool& pool, const DeviceGemm& product) {
    for (std::int64_t i = 0; i < product.count; ++i) {
        const T* const a = static_cast<const T*>(product.a) + i * product.stride_a;
        const T* const b = static_cast<const T*>(product.b) + i * product.stride_b;
        T* const c = static_cast<T*>(product.c) + i * product.stride_c;
        const bool has_bias = product.bias != nullptr;
        if (has_bias) start_with_bias(pool, product.shape, static_cast<const T*>(product.bias), c);
        gemm(pool, product.shape, static_cast<T>(product.alpha), a, b,
             has_bias ? T(1) : static_cast<T>(product.beta), c);
    }
}

}  // namespace

CpuDevice::CpuDevice(int ranks_on_host)
    : info_(describe_cpu()), ranks_on_host_(std::max(ranks_on_host, 1)) {}

std::string CpuDevice::description(const ThreadPool& pool) const {
    return fmt::format("{} ({} threads)", info_.name, pool.num_threads());
}

std::optional<MeasuredPeaks> CpuDevice::measure_peaks(Context& context) {
    return MeasuredPeaks{.multiply_adds = measure_fma_peak(context.pool),
                         .product = measure_gemm_rate(context)};
}

TrialSize CpuDevice::trial_size(const ThreadPool& pool) const {
    return {.flops = kTrialFlopsPerThread * pool.num_threads(), .tasks = pool.num_threads()};
}

std::byte* CpuDevice::allocate(std::uint64_t bytes) {
    return map_memory(bytes);
}
void CpuDevice::release(std::byte* memory, std::uint64_t bytes) noexcept {
    unmap_memory(memory, bytes);
}

void CpuDevice::copy_in(void* device, const void* host, std::uint64_t bytes) {
    move_bytes(device, host, bytes);
}
void CpuDevice::copy_out(void* host, const void* device, std::uint64_t bytes) {
    move_bytes(host, device, bytes);
}
void CpuDevice::copy(void* to, const void* from, std::uint64_t bytes) {
    move_bytes(to, from, bytes);
}
void CpuDevice::fill_zero(void* device, std::uint64_t bytes) {
    if (bytes > 0) std::memset(device, 0, bytes);
}

void CpuDevice::gemm(ThreadPool& pool, const DeviceGemm& product) {
    if (product.epilogue != Epilogue::none)
        throw std::logic_error("the CPU has no product with an epilogue");
    if (product.bias != nullptr && product.beta != 0)
        throw std::logic_error("matrix product: a bias is added with beta 0 only");
    visit_dtype(product.dtype, [&](auto zero) { multiply<decltype(zero)>(pool, product); });
}

bool CpuDevice::try_gemm(ThreadPool& pool, const DeviceGemm& product) {
    if (product.epilogue != Epilogue::none) return false;
    gemm(pool, product);
    return true;
}

DeviceMemoryUse CpuDevice::memory_use() {
    return {.used_bytes = resident_anonymous_bytes(),
            .usable_bytes = info_.total_bytes / 2,
            .total_bytes = info_.total_bytes,
            .arena_limit = info_.total_bytes / static_cast<std::uint64_t>(ranks_on_host_)};
}

Device& host_device() {
    static CpuDevice device;
    return device;
}

}  // namespace isoflop::device
