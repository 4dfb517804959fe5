// The stand-ins find what they are there to find: each violation, planted once.
#include <functional>

#include "device/cuda/runtime.hpp"
#include "device/recording/recording_test.hpp"

namespace isoflop::test {
namespace {

using namespace device::cuda;
using testing::Contains;
using testing::HasSubstr;
using testing::IsEmpty;

class PlantedViolations : public testing::Test {
protected:
    PlantedViolations() {
        StrictCublasLt::instance().reset();
        StrictCuda::instance().reset();
    }
    ~PlantedViolations() override {
        StrictCuda::instance().reset();
        StrictCublasLt::instance().reset();
    }
    void expect(const char* what, bool at_end = false) {
        EXPECT_THAT(cuda_.take_violations(at_end), Contains(HasSubstr(what)));
    }
    std::byte* allocate(std::uint64_t bytes) {
        void* memory = nullptr;
        EXPECT_EQ(cudaMalloc(&memory, bytes), cudaSuccess);
        return static_cast<std::byte*>(memory);
    }
    StrictCuda& cuda_ = StrictCuda::instance();
};

TEST_F(PlantedViolations, OfEvents) {
    const Stream stream;
    const Event timed(Timing::on);
    const Event plain;
    float milliseconds = 0;
    (void)cudaEventSynchronize(plain.get());
    expect("a wait for an event that was not recorded");
    (void)cudaStreamWaitEvent(stream.get(), plain.get(), 0);
    expect("a wait for an event that was not recorded");
    (void)cudaEventElapsedTime(&milliseconds, timed.get(), timed.get());
    expect("the time of an event that was not recorded");
    plain.record(stream);
    (void)cudaEventElapsedTime(&milliseconds, plain.get(), plain.get());
    expect("the time of an event without timing");
    std::byte* const memory = allocate(16);
    (void)cudaMemsetAsync(memory, 0, 16, stream.get());
    timed.record(stream);
    (void)cudaEventElapsedTime(&milliseconds, timed.get(), timed.get());
    expect("the time of an event that was not waited for");
    timed.synchronize();
    EXPECT_EQ(cudaEventElapsedTime(&milliseconds, timed.get(), timed.get()), cudaSuccess);
    EXPECT_THAT(cuda_.take_violations(false), IsEmpty());
}

TEST_F(PlantedViolations, OfRecordings) {
    const Stream stream;
    const Event outside;
    outside.record(stream);
    (void)cudaStreamBeginCapture(stream.get(), cudaStreamCaptureModeGlobal);
    expect("a recording that forbids calls to other threads");
    (void)cudaStreamSynchronize(stream.get());
    expect("a wait for a stream while a stream is recorded");
    (void)cudaEventSynchronize(outside.get());
    expect("a wait for an event while a stream is recorded");
    void* memory = nullptr;
    (void)cudaMalloc(&memory, 16);
    expect("an allocation while a stream is recorded");
    (void)cudaStreamWaitEvent(stream.get(), outside.get(), 0);
    expect("a wait between a recording and what is outside of it");
    (void)cudaStreamBeginCapture(stream.get(), cudaStreamCaptureModeThreadLocal);
    expect("a recording within a recording");
    cudaGraph_t graph = nullptr;
    EXPECT_EQ(cudaStreamEndCapture(stream.get(), &graph), cudaSuccess);
    (void)cudaStreamEndCapture(stream.get(), &graph);
    expect("the end of a recording that was not begun");
    EXPECT_EQ(cudaGraphDestroy(graph), cudaSuccess);
}

TEST_F(PlantedViolations, OfMemory) {
    const Stream stream;
    std::byte* const memory = allocate(16);
    std::byte host[16]{};
    (void)cudaMemcpyAsync(memory, host, 16, cudaMemcpyHostToDevice, stream.get());
    expect("a copy from outside of memory of its kind");
    (void)cudaMemcpyAsync(memory, memory, 17, cudaMemcpyDeviceToDevice, stream.get());
    expect("outside of memory of its kind");
    (void)cudaMemsetAsync(memory + 1, 0, 16, stream.get());
    expect("bytes set outside of device memory");
    (void)cudaMemcpy2DAsync(memory, 8, memory, 8, 8, 3, cudaMemcpyDeviceToDevice, stream.get());
    expect("a copy of rows outside of device memory");
    (void)cudaFreeHost(memory);
    expect("a release of memory that was not allocated so");
    expect("1 allocations left", true);
    (void)cudaFree(memory);
}

TEST_F(PlantedViolations, OfHandles) {
    cudaEvent_t event = nullptr;
    {
        const Event ended;
        event = ended.get();
    }
    (void)cudaEventSynchronize(event);
    expect("an event that does not exist");
    cudaStream_t stream = nullptr;
    EXPECT_EQ(cudaStreamCreateWithFlags(&stream, 0), cudaSuccess);
    expect("a stream that waits for the default stream");
    expect("1 streams left", true);
    EXPECT_EQ(cudaStreamDestroy(stream), cudaSuccess);
    (void)cudaStreamSynchronize(stream);
    expect("a stream that does not exist");
}

/// A product of 8 x 8 matrices as the library is asked for it, with one thing wrong.
class PlantedInProducts : public PlantedViolations {
protected:
    struct Asked {
        int epilogue = kEpilogueDefault;
        std::ptrdiff_t bias = -1, second = -1;  ///< bytes from the start of memory
        std::int64_t second_stride = 8;
        std::uint32_t reductions = kReductionInComputeType;
        std::uint32_t alignment = 16;
        std::ptrdiff_t a = 0;
        std::uint64_t workspace_bytes = 8ULL << 20U;
        std::ptrdiff_t workspace = 0;
    };
    void ask(const Asked& asked) {
        const CublasLtFunctions& lt = cublaslt();
        const Stream stream;
        std::byte* const memory = allocate(4096);
        std::byte* const workspace = allocate(8ULL << 20U);
        CublasLtDescriptor product = nullptr, matrix = nullptr, preference = nullptr;
        lt.matmul_desc_create(&product, kCompute32F, kCudaR32F);
        lt.matrix_layout_create(&matrix, kCudaR32F, 8, 8, 8);
        lt.preference_create(&preference);
        const auto set = [&](int attribute, const auto& value) {
            lt.matmul_desc_set_attribute(product, attribute, &value, sizeof(value));
        };
        const auto prefer = [&](int attribute, const auto& value) {
            lt.preference_set_attribute(preference, attribute, &value, sizeof(value));
        };
        set(kProductEpilogue, std::int32_t{asked.epilogue});
        if (asked.bias >= 0)
            set(kProductBiasPointer, static_cast<const void*>(memory + asked.bias));
        if (asked.second >= 0)
            set(kProductAuxPointer, static_cast<const void*>(memory + asked.second));
        set(kProductAuxStride, asked.second_stride);
        prefer(kPreferReductions, asked.reductions);
        prefer(kPreferMaxWorkspace, asked.workspace_bytes);
        for (const int attribute :
             {kPreferAlignmentA, kPreferAlignmentB, kPreferAlignmentC, kPreferAlignmentD})
            prefer(attribute, asked.alignment);
        CublasLtHeuristic found;
        int count = 0;
        lt.algo_get_heuristic(nullptr, product, matrix, matrix, matrix, matrix, preference, 1,
                              &found, &count);
        const float one = 1;
        const float zero = 0;
        if (count == 1) {
            (void)lt.matmul(nullptr, product, &one, memory + asked.a, matrix, memory + 1024, matrix,
                            &zero, memory + 2048, matrix, memory + 2048, matrix, &found.algorithm,
                            workspace + asked.workspace, asked.workspace_bytes, stream.get());
        }
        lt.preference_destroy(preference);
        lt.matrix_layout_destroy(matrix);
        lt.matmul_desc_destroy(product);
        (void)cudaFree(memory);
        (void)cudaFree(workspace);
    }
};

TEST_F(PlantedInProducts, NothingIsFoundWhereAllIsRight) {
    ask({});
    ask({.epilogue = kEpilogueGeluAuxBias, .bias = 3072, .second = 3200});
    EXPECT_THAT(cuda_.take_violations(false), IsEmpty());
}

TEST_F(PlantedInProducts, IsFound) {
    ask({.epilogue = kEpilogueBias, .bias = 3076});
    expect("a bias that does not begin at a multiple of 16 bytes");
    ask({.epilogue = kEpilogueBias});
    expect("a bias that does not begin at a multiple of 16 bytes");
    ask({.epilogue = kEpilogueBias, .bias = 4080});
    expect("a bias outside of device memory");
    ask({.epilogue = kEpilogueGeluAux, .second = 3204});
    expect("a second matrix that does not suit its epilogue");
    ask({.epilogue = kEpilogueGeluGradient, .second = 3200, .second_stride = 9});
    expect("a second matrix that does not suit its epilogue");
    ask({.reductions = 3});
    expect("sums that may be in the type of the result");
    ask({.a = 4});
    expect("a matrix less aligned than was declared");
    ask({.a = 4000});
    expect("a matrix outside of device memory");
    ask({.workspace_bytes = 1024});
    expect("no workspace for the algorithm");
    ask({.workspace_bytes = 1024});
    expect("workspace that is too small, not aligned or not there");
    ask({.workspace = 16});
    expect("workspace that is too small, not aligned or not there");
    CublasLtDescriptor none = nullptr;
    (void)cublaslt().matmul_desc_destroy(none);
    expect("a descriptor of another kind, or none");
}

}  // namespace
}  // namespace isoflop::test
