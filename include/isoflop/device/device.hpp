// The interface of a device: memory, one ordered stream of work, and matrix products. CpuDevice
// (device.cpp), CudaDevice (cuda/) and the tests' emulated GPU implement it. Higher layers choose
// kernels by `kind`: ops::kernels, attention::make_backend.
//
// Work is asynchronous: calls return when it has been given to the device, and it runs in the order
// of calls. Functions that return values of the device wait for them. A CPU does its work in the
// call.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "isoflop/base/dtype.hpp"
#include "isoflop/cost/attention_workspace.hpp"
#include "isoflop/cost/execution.hpp"
#include "isoflop/device/gemm.hpp"

struct CUstream_st;  // cudaStream_t points to it

namespace isoflop::device {

struct Context;

/// The unit in which reports give a device's FLOP/s.
struct RateUnit {
    std::string_view name;
    double flops_per_second = 1;
};

struct DeviceInfo {
    std::string name;  ///< name in the driver, "NVIDIA H100 80GB HBM3"; of a CPU, its model
    int ordinal = 0;
    int capability_major = 0;  ///< of a GPU
    int capability_minor = 0;
    int multiprocessors = 0;
    std::uint64_t total_bytes = 0;
    std::string runtime;  ///< "CUDA 13.0"; of a CPU, the instruction set
    int cuda_major = 0;   ///< of the CUDA that the program was built with; of a CPU, 0
    /// The same for every process that uses this GPU, "GPU-1f3a..."; empty where it has none.
    std::string unique_id = {};
    /// For reports: "driver for CUDA 13.0, cuBLASLt 13.1.0".
    std::string libraries = {};
    std::vector<DType> element_types = {};  ///< of tensors that ops take
    /// A sum over a tensor has the same bits on 1, 2, 4 ... up to this many ranks, each of which
    /// adds its share of this many parts; 1: the bits may differ.
    int sum_parts = 1;
    /// Largest error of the logarithm of a sum of exponentials in fp32, relative where it is over
    /// 1. Kernels of GPUs use fast exponentials.
    double log_sum_exp_error = 1e-4;
    RateUnit rate_unit = {"TFLOP/s", 1e12};
};

/// Rates of the hardware, FLOP/s, with which a run is compared.
struct MeasuredPeaks {
    double multiply_adds = 0;  ///< fp32, in registers only
    double product = 0;        ///< one fp32 product of 2048^3
};

/// A part of a computation that shows its speed, and is done within a second even by a slow device
/// of its kind.
struct TrialSize {
    double flops = 0;
    /// Independent tasks that occupy the whole device; nullopt where any number of tasks does.
    std::optional<std::int64_t> tasks = {};
};

struct DeviceMemoryUse {
    std::uint64_t used_bytes = 0;  ///< of a GPU by all programs; of a host by this process alone
    /// What a trial may take: the free memory of a GPU; half of the memory of a host, as other
    /// programs need memory too.
    std::uint64_t usable_bytes = 0;
    std::uint64_t total_bytes = 0;
    /// Largest arena of one rank: the free memory of a GPU, or the whole memory of a host, divided
    /// by the ranks of DeviceOptions.
    std::uint64_t arena_limit = 0;
};

/// Power and clocks as NVML reports them.
struct DeviceSensors {
    double watts = 0;
    double sm_megahertz = 0;
    double memory_megahertz = 0;
};

/// Operation on each sum of a product, with its bias, before it is stored. GELU is the form with
/// tanh: the one that libraries compute here (PyTorch uses it for approximate="tanh" only).
enum class Epilogue {
    none,
    gelu,           ///< c = gelu(sum), gelu_input = sum
    gelu_gradient,  ///< c = sum times the derivative of gelu at gelu_input
};

/// C = alpha * op(A) op(B) + beta * C, row-major as in GemmShape, in device memory. A, B and C have
/// the element type `dtype`; sums are in fp32, and in fp64 for fp64. `count` products with
/// distances between their matrices in elements (0: the same matrix for all).
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

/// Bytes of the scratch memory of a GPU's ops, and the most that one product may use.
inline constexpr std::uint64_t kScratchBytes = cost::kGpuScratchBytes;
inline constexpr std::uint64_t kGemmWorkspaceBytes = 32ULL << 20U;

/// Not thread-safe; one per rank. Ranks may share a CPU device, which has no state.
class Device {
public:
    Device() = default;
    virtual ~Device() = default;
    Device(const Device&) = delete;
    Device& operator=(const Device&) = delete;

    [[nodiscard]] virtual cost::DeviceKind kind() const = 0;
    /// Whether the host reads and writes the device's memory itself. For host_access.hpp only.
    [[nodiscard]] virtual bool is_host() const { return false; }
    [[nodiscard]] virtual const DeviceInfo& info() const = 0;
    /// For reports and keys of caches: name and properties that its speed depends on, "AMD EPYC
    /// 9654 (8 threads)", "NVIDIA H100 80GB HBM3 (sm_90)".
    [[nodiscard]] virtual std::string description(const ThreadPool& pool) const = 0;
    /// nullopt for a GPU, whose peaks are in a table. Takes a second.
    [[nodiscard]] virtual std::optional<MeasuredPeaks> measure_peaks(Context& /*context*/) {
        return std::nullopt;
    }
    [[nodiscard]] virtual TrialSize trial_size(const ThreadPool& /*pool*/) const {
        return {.flops = 1e12};
    }

    /// Memory filled with zeros. Throws Error with ExitCode::out_of_memory. Use DeviceBuffer.
    [[nodiscard]] virtual std::byte* allocate(std::uint64_t bytes) = 0;
    virtual void release(std::byte* memory, std::uint64_t bytes) noexcept = 0;

    /// The host memory may be reused when this returns.
    virtual void copy_in(void* device, const void* host, std::uint64_t bytes) = 0;
    /// Waits for all work before it.
    virtual void copy_out(void* host, const void* device, std::uint64_t bytes) = 0;
    virtual void copy(void* to, const void* from, std::uint64_t bytes) = 0;
    virtual void fill_zero(void* device, std::uint64_t bytes) = 0;
    /// Waits for all work and throws its errors.
    virtual void synchronize() = 0;

    /// `pool`: the threads of a CPU.
    virtual void gemm(ThreadPool& pool, const DeviceGemm& product) = 0;
    /// The same for a product with an epilogue; false, and nothing is done, where the device does
    /// not take it. Without an epilogue `gemm` accepts all.
    [[nodiscard]] virtual bool try_gemm(ThreadPool& pool, const DeviceGemm& product) = 0;

    /// Memory of kScratchBytes for the op that is being enqueued; the next op may overwrite it.
    /// For ops on a GPU: those of a CPU use the context's workspace.
    [[nodiscard]] virtual std::byte* scratch() { return nullptr; }
    /// The stream of the computation; of a GPU.
    [[nodiscard]] virtual CUstream_st* stream() const { return nullptr; }
    /// Folder of the plans that libraries compile; if empty, they are not stored.
    [[nodiscard]] virtual std::string plan_cache() const { return {}; }

    /// Work that was recorded once and is launched by one call.
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

    /// Device memory for a result that a kernel returns to the host, from a ring; while work is
    /// recorded, the slot that is reserved for recordings.
    [[nodiscard]] double* next_result() {
        return recording_ ? recorded_result() : results() + next_slot_++ % (kResultSlots - 1);
    }
    [[nodiscard]] double* recorded_result() { return results() + kResultSlots - 1; }
    void set_recording(bool recording) { recording_ = recording; }
    static constexpr std::size_t kResultSlots = 4096;

protected:
    /// Of kResultSlots doubles. A CPU, whose ops return their numbers, has none.
    [[nodiscard]] virtual double* results() { return nullptr; }

private:
    std::size_t next_slot_ = 0;
    bool recording_ = false;
};

/// A number that the device may still be computing.
class DeferredValue {
public:
    DeferredValue() = default;
    explicit DeferredValue(double value) : value_(value) {}
    DeferredValue(Device& device, const double* slot) : device_(&device), slot_(slot) {}
    /// Waits for the value. Must be called before kResultSlots - 1 further values have been made.
    [[nodiscard]] double get() const;

private:
    double value_ = 0;
    Device* device_ = nullptr;
    const double* slot_ = nullptr;
};

/// A range in profiles for its lifetime.
class ProfileRange {
public:
    ProfileRange(Device& device, std::string_view name) : device_(device) {
        device_.begin_range(name);
    }
    ~ProfileRange() { device_.end_range(); }
    ProfileRange(const ProfileRange&) = delete;
    ProfileRange& operator=(const ProfileRange&) = delete;

private:
    Device& device_;
};

/// Owns memory of a device, which must outlive it.
class DeviceBuffer {
public:
    DeviceBuffer() = default;
    DeviceBuffer(Device& device, std::uint64_t bytes)
        : device_(&device), data_(device.allocate(bytes)), size_(bytes) {}
    ~DeviceBuffer() {
        if (data_ != nullptr) device_->release(data_, size_);
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
    Device* device_ = nullptr;
    std::byte* data_ = nullptr;
    std::uint64_t size_ = 0;
};

struct DeviceOptions {
    int ordinal = 0;
    bool deterministic = true;    ///< no atomics whose order changes the result
    bool allow_tf32 = false;      ///< products of fp32 in tf32
    std::string gemm_cache = {};  ///< file of measured algorithms; if empty, heuristics only
    /// folder of compiled attention plans; if empty, they are not stored
    std::string plan_cache = {};
    int ranks_on_host = 1;  ///< number of ranks that share the memory of the host
};

/// The device of a rank. Throws ConfigError, with the reason, where there is none of this kind.
[[nodiscard]] std::unique_ptr<Device> open_device(cost::DeviceKind kind,
                                                  const DeviceOptions& options);

/// The GPUs that this program can use, or the reason why there are none.
struct DeviceCount {
    int devices = 0;
    std::string reason;  ///< "this build has no CUDA", "no NVIDIA driver is installed"
};
/// The linked library decides the implementation of these: CUDA, none, or the tests' emulation.
[[nodiscard]] DeviceCount count_gpus();
[[nodiscard]] std::unique_ptr<Device> open_gpu(const DeviceOptions& options);

}  // namespace isoflop::device
