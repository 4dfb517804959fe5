#include "device/cuda/cuda_device.hpp"

#include <fmt/format.h>

#include <array>
#include <stdexcept>
#include <utility>

#include "device/cuda/cublaslt.hpp"
#include "device/cuda/profile_ranges.hpp"

namespace isoflop::device::cuda {
namespace {

using OwnedGraph = Owned<cudaGraph_t, cudaGraphDestroy>;
using ExecutableGraph = Owned<cudaGraphExec_t, cudaGraphExecDestroy>;

class RecordedGraph final : public Device::Graph {
public:
    RecordedGraph(int ordinal, const Stream& stream, ExecutableGraph graph)
        : ordinal_(ordinal), stream_(stream), graph_(std::move(graph)) {}
    ~RecordedGraph() override { ignore(cudaStreamSynchronize(stream_.get())); }
    RecordedGraph(const RecordedGraph&) = delete;
    RecordedGraph& operator=(const RecordedGraph&) = delete;

    void launch() override {
        use_device(ordinal_);
        check(cudaGraphLaunch(graph_.get(), stream_.get()), "cudaGraphLaunch");
    }

private:
    const int ordinal_;
    const Stream& stream_;
    ExecutableGraph graph_;
};

std::string library_versions() {
    int driver = 0;
    ignore(cudaDriverGetVersion(&driver));
    return fmt::format("driver for CUDA {}.{}, {}", driver / 1000, driver % 1000 / 10,
                       cublaslt_version());
}

/// Also makes the device the current one for the members that follow.
DeviceInfo on_device(DeviceInfo info) {
    use_device(info.ordinal);
    info.libraries = library_versions();
    return info;
}

std::string pci_bus_id(int ordinal) {
    std::array<char, 32> text{};
    check(cudaDeviceGetPCIBusId(text.data(), static_cast<int>(text.size()), ordinal),
          "cudaDeviceGetPCIBusId");
    return text.data();
}

}  // namespace

CudaDevice::CudaDevice(const DeviceOptions& options, DeviceInfo info)
    : info_(on_device(std::move(info))),
      plan_cache_(options.plan_cache),
      scratch_(kScratchBytes),
      results_(kResultSlots * sizeof(double)),
      uploads_(stream_),
      downloads_(stream_),
      products_(stream_, options, info_),
      nvml_(pci_bus_id(info_.ordinal)) {
    fill_zero(results_.data(), results_.size());
}

CudaDevice::~CudaDevice() {
    ignore(cudaSetDevice(info_.ordinal));
    if (capturing_) {
        cudaGraph_t graph = nullptr;
        ignore(cudaStreamEndCapture(stream_.get(), &graph));
        if (graph != nullptr) ignore(cudaGraphDestroy(graph));
    }
    ignore(cudaStreamSynchronize(stream_.get()));
}

void CudaDevice::prepare_call(const char* call) const {
    if (capturing_)
        throw std::logic_error(std::string(call) + " cannot be recorded in a CUDA graph");
    use_device(info_.ordinal);
}

std::string CudaDevice::description(const ThreadPool& /*pool*/) const {
    return fmt::format("{} (sm_{}{})", info_.name, info_.capability_major, info_.capability_minor);
}

std::byte* CudaDevice::allocate(std::uint64_t bytes) {
    prepare_call("allocate");
    std::byte* const memory = allocate_device(bytes);
    try {
        fill_zero(memory, bytes);
    } catch (...) {
        free_device(memory);
        throw;
    }
    return memory;
}

void CudaDevice::release(std::byte* memory, std::uint64_t /*bytes*/) noexcept {
    ignore(cudaSetDevice(info_.ordinal));
    if (!capturing_) ignore(cudaStreamSynchronize(stream_.get()));
    free_device(memory);
}

void CudaDevice::copy_in(void* device, const void* host, std::uint64_t bytes) {
    prepare_call("copy_in");
    uploads_.copy(device, host, bytes);
}

void CudaDevice::copy_out(void* host, const void* device, std::uint64_t bytes) {
    prepare_call("copy_out");
    if (bytes == 0) {
        stream_.synchronize();
        return;
    }
    downloads_.copy(host, device, bytes);
}

void CudaDevice::copy(void* to, const void* from, std::uint64_t bytes) {
    use_device(info_.ordinal);
    if (bytes == 0 || to == from) return;
    check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, stream_.get()),
          "cudaMemcpyAsync");
}

void CudaDevice::fill_zero(void* device, std::uint64_t bytes) {
    use_device(info_.ordinal);
    if (bytes == 0) return;
    check(cudaMemsetAsync(device, 0, bytes, stream_.get()), "cudaMemsetAsync");
}

void CudaDevice::synchronize() {
    prepare_call("synchronize");
    stream_.synchronize();
}

void CudaDevice::gemm(ThreadPool& /*pool*/, const DeviceGemm& product) {
    use_device(info_.ordinal);
    products_.run(product, !capturing_);
}

bool CudaDevice::try_gemm(ThreadPool& /*pool*/, const DeviceGemm& product) {
    use_device(info_.ordinal);
    return products_.try_run(product, !capturing_);
}

bool CudaDevice::begin_capture() {
    prepare_call("begin_capture");
    // Other threads of the process go on with CUDA as they like.
    check(cudaStreamBeginCapture(stream_.get(), cudaStreamCaptureModeThreadLocal),
          "cudaStreamBeginCapture");
    capturing_ = true;
    return true;
}

std::unique_ptr<Device::Graph> CudaDevice::end_capture() {
    if (!capturing_) throw std::logic_error("end_capture without begin_capture");
    capturing_ = false;
    use_device(info_.ordinal);
    cudaGraph_t recorded = nullptr;
    const cudaError_t status = cudaStreamEndCapture(stream_.get(), &recorded);
    const OwnedGraph graph(recorded);
    check(status, "cudaStreamEndCapture");
    cudaGraphExec_t executable = nullptr;
    check(cudaGraphInstantiate(&executable, graph.get(), 0), "cudaGraphInstantiate");
    return std::make_unique<RecordedGraph>(info_.ordinal, stream_, ExecutableGraph(executable));
}

DeviceMemoryUse CudaDevice::memory_use() {
    use_device(info_.ordinal);
    std::size_t free_bytes = 0;
    std::size_t total_bytes = 0;
    check(cudaMemGetInfo(&free_bytes, &total_bytes), "cudaMemGetInfo");
    return {.used_bytes = total_bytes - free_bytes,
            .usable_bytes = free_bytes,
            .total_bytes = total_bytes,
            .arena_limit = free_bytes};
}

std::optional<DeviceSensors> CudaDevice::sensors() {
    return nvml_.sensors();
}

void CudaDevice::begin_range(std::string_view name) {
    push_range(std::string(name));
}

void CudaDevice::end_range() {
    pop_range();
}

}  // namespace isoflop::device::cuda
