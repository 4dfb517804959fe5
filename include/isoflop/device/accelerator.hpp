// A GPU as the layers above see it: memory, one stream of work in order, matrix products, and the
// kernels of every op. What they are made of (CUDA; an emulation on the host in the tests) is known
// to the implementation only.
//
// Work is asynchronous: calls return when it has been given to the device, and it runs in the order
// of calls. Functions that return values of the device wait for them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "isoflop/base/dtype.hpp"
#include "isoflop/cost/execution.hpp"
#include "isoflop/device/gemm.hpp"

struct CUstream_st;  // cudaStream_t points to it

namespace isoflop::ops {
struct Kernels;
}
namespace isoflop::attention {
class Backend;
}

namespace isoflop::device {

struct AcceleratorInfo {
    std::string name;  ///< as the driver says it, "NVIDIA H100 80GB HBM3"
    int ordinal = 0;
    int capability_major = 0;
    int capability_minor = 0;
    int multiprocessors = 0;
    std::uint64_t total_bytes = 0;
    std::string runtime;  ///< "CUDA 13.0"
    /// For reports: "driver for CUDA 13.0, cuBLASLt 13.1.0".
    std::string libraries = {};
};

struct DeviceMemoryUse {
    std::uint64_t free_bytes = 0;
    std::uint64_t total_bytes = 0;
    [[nodiscard]] std::uint64_t used_bytes() const { return total_bytes - free_bytes; }
};

/// Power and clocks as NVML reports them.
struct DeviceSensors {
    double watts = 0;
    double sm_megahertz = 0;
    double memory_megahertz = 0;
};

/// C = alpha * op(A) op(B) + beta * C, row-major as in GemmShape, of device memory. Sums are in
/// fp32; A, B and C have the element type `dtype`. `count` products with distances between their
/// matrices in elements (0: the same matrix for all).
/// What becomes of each sum of a product, with its bias, before it is stored. GELU is the form with
/// tanh: the one that libraries compute here (PyTorch uses it for approximate="tanh" only).
enum class Epilogue {
    none,
    gelu,           ///< c = gelu(sum), gelu_input = sum
    gelu_gradient,  ///< c = sum times the derivative of gelu at gelu_input
};

struct DeviceGemm {
    GemmShape shape;
    DType dtype = DType::bfloat16;
    float alpha = 1;
    const void* a = nullptr;
    const void* b = nullptr;
    float beta = 0;
    void* c = nullptr;
    const void* bias = nullptr;  ///< [n] of type dtype, added to every row; with beta 0 only
    Epilogue epilogue = Epilogue::none;  ///< other than none with beta 0 and count 1 only
    void* gelu_input = nullptr;          ///< [m, n] of type dtype, rows ldc apart
    std::int64_t count = 1;
    std::int64_t stride_a = 0;
    std::int64_t stride_b = 0;
    std::int64_t stride_c = 0;
};

/// Bytes of the scratch memory of ops, and the most that one product may use.
inline constexpr std::uint64_t kScratchBytes = 64ULL << 20U;
inline constexpr std::uint64_t kGemmWorkspaceBytes = 32ULL << 20U;

/// Not thread-safe; one per rank.
class Accelerator {
public:
    Accelerator() = default;
    virtual ~Accelerator() = default;
    Accelerator(const Accelerator&) = delete;
    Accelerator& operator=(const Accelerator&) = delete;

    [[nodiscard]] virtual const AcceleratorInfo& info() const = 0;

    /// Memory filled with zeros. Throws Error with ExitCode::out_of_memory. Use DeviceBuffer.
    [[nodiscard]] virtual std::byte* allocate(std::uint64_t bytes) = 0;
    virtual void release(std::byte* memory) noexcept = 0;

    /// The host memory may be reused when this returns.
    virtual void copy_in(void* device, const void* host, std::uint64_t bytes) = 0;
    /// Waits for all work before it.
    virtual void copy_out(void* host, const void* device, std::uint64_t bytes) = 0;
    virtual void copy(void* to, const void* from, std::uint64_t bytes) = 0;
    virtual void fill_zero(void* device, std::uint64_t bytes) = 0;
    /// Waits for all work; throws what went wrong in it.
    virtual void synchronize() = 0;

    virtual void gemm(const DeviceGemm& product) = 0;
    /// Whether `gemm` takes the product. To be asked where there is an epilogue: without one it
    /// takes all.
    [[nodiscard]] virtual bool can_multiply(const DeviceGemm& product) = 0;

    /// Memory of kScratchBytes for the op that is being enqueued; the next op may overwrite it.
    [[nodiscard]] virtual std::byte* scratch() = 0;

    /// The stream of the computation.
    [[nodiscard]] virtual CUstream_st* stream() const = 0;

    [[nodiscard]] virtual const ops::Kernels& kernels() const = 0;
    [[nodiscard]] virtual std::unique_ptr<attention::Backend> make_attention(
        cost::AttentionBackend backend) = 0;

    /// Work recorded once and then started by one call.
    class Graph {
    public:
        virtual ~Graph() = default;
        virtual void launch() = 0;
    };
    /// Between the two calls, work is recorded instead of given to the device, until end_capture;
    /// nothing may be waited for. begin_capture is false where the device cannot record: the work
    /// is then done as usual.
    [[nodiscard]] virtual bool begin_capture() { return false; }
    [[nodiscard]] virtual std::unique_ptr<Graph> end_capture() { return nullptr; }

    [[nodiscard]] virtual DeviceMemoryUse memory_use() = 0;
    /// nullopt without NVML.
    [[nodiscard]] virtual std::optional<DeviceSensors> sensors() { return std::nullopt; }
    /// A range in profiles, from begin to end; they nest.
    virtual void begin_range(std::string_view /*name*/) {}
    virtual void end_range() {}

    /// Device memory for one of the numbers that kernels leave for the host, in turn; while work is
    /// recorded, the place that recordings have to themselves.
    [[nodiscard]] double* next_result() {
        return recording_ ? recorded_result() : results() + next_slot_++ % (kResultSlots - 1);
    }
    [[nodiscard]] double* recorded_result() { return results() + kResultSlots - 1; }
    void set_recording(bool recording) { recording_ = recording; }
    static constexpr std::size_t kResultSlots = 4096;

protected:
    /// Of kResultSlots doubles.
    [[nodiscard]] virtual double* results() = 0;

private:
    std::size_t next_slot_ = 0;
    bool recording_ = false;
};

/// A number that the device may still be computing.
class DeferredValue {
public:
    DeferredValue() = default;
    explicit DeferredValue(double value) : value_(value) {}
    DeferredValue(Accelerator& device, const double* slot) : device_(&device), slot_(slot) {}
    /// Waits for it. Must be called before kResultSlots - 1 others have been made.
    [[nodiscard]] double get() const;

private:
    double value_ = 0;
    Accelerator* device_ = nullptr;
    const double* slot_ = nullptr;
};

/// A range in profiles for its lifetime; nothing without an accelerator.
class ProfileRange {
public:
    ProfileRange(Accelerator* device, std::string_view name) : device_(device) {
        if (device_ != nullptr) device_->begin_range(name);
    }
    ~ProfileRange() {
        if (device_ != nullptr) device_->end_range();
    }
    ProfileRange(const ProfileRange&) = delete;
    ProfileRange& operator=(const ProfileRange&) = delete;

private:
    Accelerator* device_;
};

/// Owns memory of an accelerator, which must outlive it.
class DeviceBuffer {
public:
    DeviceBuffer() = default;
    DeviceBuffer(Accelerator& device, std::uint64_t bytes)
        : device_(&device), data_(device.allocate(bytes)), size_(bytes) {}
    ~DeviceBuffer() {
        if (data_ != nullptr) device_->release(data_);
    }
    DeviceBuffer(DeviceBuffer&& other) noexcept { *this = std::move(other); }
    DeviceBuffer& operator=(DeviceBuffer&& other) noexcept {
        std::swap(device_, other.device_);
        std::swap(data_, other.data_);
        std::swap(size_, other.size_);
        return *this;
    }
    DeviceBuffer(const DeviceBuffer&) = delete;
    DeviceBuffer& operator=(const DeviceBuffer&) = delete;

    [[nodiscard]] std::byte* data() const { return data_; }
    [[nodiscard]] std::uint64_t size() const { return size_; }

private:
    Accelerator* device_ = nullptr;
    std::byte* data_ = nullptr;
    std::uint64_t size_ = 0;
};

struct AcceleratorOptions {
    int ordinal = 0;
    bool deterministic = true;    ///< no atomics whose order shows in the result
    bool allow_tf32 = false;      ///< products of fp32 in tf32
    std::string gemm_cache = {};  ///< file of measured algorithms; empty: heuristics only
    std::string plan_cache = {};  ///< folder of compiled attention plans; empty: kept nowhere
};

/// What this program can reach: number of devices, or why there are none.
struct AcceleratorCount {
    int devices = 0;
    std::string reason;  ///< "this build has no CUDA", "no NVIDIA driver is installed"
};
/// Which implementation these come from is decided by the library that is linked: CUDA, none, or
/// the tests' emulation.
[[nodiscard]] AcceleratorCount count_accelerators();
/// Throws ConfigError with the reason.
[[nodiscard]] std::unique_ptr<Accelerator> open_accelerator(const AcceleratorOptions& options);

}  // namespace isoflop::device
