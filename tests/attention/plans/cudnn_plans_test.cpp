// cuDNN's own plan compiler, asked for devices that are only described, without a GPU: whether the
// plans exist that capability.cpp promises, and whether the memory plan has their workspace.
#include <dlfcn.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>

#include "attention/cudnn/attention_graphs.hpp"
#include "attention/cudnn/capability.hpp"
#include "attention/cudnn/plan.hpp"
#include "isoflop/base/error.hpp"

namespace isoflop::test {
namespace {

namespace cudnn = attention::cudnn;
using attention::Shape;

/// Descriptions of devices can be read from it on.
constexpr std::size_t kFirstWithDescriptions = 91100;
/// No case below is refused from it on; before, some plans would compute wrong results.
constexpr std::size_t kFirstWithAllOfThem = 91600;

/// cuDNN over a driver that does nothing, or why there is none.
struct Library {
    std::unique_ptr<cudnn::Functions> functions;
    std::string missing;
};
const Library& library() {
    static const Library kLibrary = []() -> Library {
        // First, so that cuDNN finds it under the name of the real one.
        if (dlopen(ISOFLOP_DRIVER_WITHOUT_GPU, RTLD_NOW | RTLD_GLOBAL) == nullptr)
            return {nullptr, dlerror()};
        try {
            auto functions = std::make_unique<cudnn::Functions>(cudnn::load_functions());
            const std::size_t version = functions->get_version();
            if (version >= kFirstWithDescriptions) return {std::move(functions), {}};
            return {nullptr, "cuDNN " + cudnn::version_text(version) + " reads no descriptions"};
        } catch (const Error& error) {
            return {nullptr, error.what()};
        }
    }();
    return kLibrary;
}

struct Device {
    cudnn::Capability capability;
    int multiprocessors = 0;
    int shared_bytes = 0;  ///< of a block at most
};
constexpr Device kA100{{8, 0}, 108, 166912};
constexpr Device kA40{{8, 6}, 84, 101376};
constexpr Device kL40{{8, 9}, 142, 101376};
constexpr Device kH100{{9, 0}, 132, 232448};
constexpr Device kB200{{10, 0}, 148, 232448};
constexpr Device kB300{{10, 3}, 148, 232448};
constexpr Device kRtx5090{{12, 0}, 170, 101376};

/// In the words that cuDNN writes itself; 9.28 asks for three that 9.11 does not know.
std::string description(const Device& device) {
    const bool data_center = device.shared_bytes > 101376;
    return fmt::format(
        R"({{"cudaDeviceId":0,"deviceName":"described","deviceVer":{},"driverVer":13000,)"
        R"("isTccDriver":0,"l2CacheSize":41943040,"maxBlockSize":[1024,1024,64],"maxCtasPerSM":{},)"
        R"("maxGridSize":[2147483647,65535,65535],"maxRegistersPerSM":65536,)"
        R"("maxSharedMemoryPerBlock":49152,"maxSharedMemoryPerBlockOptin":{},)"
        R"("maxThreadsPerBlock":1024,"maxThreadsPerSM":{},"memClockRateKHz":1593000,)"
        R"("memoryBusWidth":5120,"oversizedSharedMemoryPerBlock":0,"smCountOrigin":0,)"
        R"("multiProcessorCount":{},"pciDeviceId":0,"regsPerBlock":65536,)"
        R"("reservedSharedMemoryPerBlock":1024,"smClockRateKHz":1410000,"supportCoopLaunch":1,)"
        R"("totalGlobalMem":42949672960,"warpSize":32}})",
        100 * device.capability.major + 10 * device.capability.minor, data_center ? 32 : 24,
        device.shared_bytes, data_center ? 2048 : 1536, device.multiprocessors);
}

enum class Pass { forward, backward, deterministic_backward };

struct Case {
    Device device;
    Pass pass{};
    Shape shape;
    DType dtype = DType::bfloat16;
};

Shape shape_of(std::int64_t batch, std::int64_t queries, std::int64_t keys, std::int64_t heads,
               std::int64_t kv_heads, std::int64_t head_dim) {
    return {.batch = batch,
            .query_length = queries,
            .key_length = keys,
            .heads = heads,
            .kv_heads = kv_heads,
            .head_dim = head_dim,
            .causal = queries == keys,
            .scale = 0.1};
}

std::string name_of(const Case& asked) {
    static constexpr const char* kPasses[] = {"Forward", "Backward", "DeterministicBackward"};
    const Shape& s = asked.shape;
    return fmt::format("{}On{}{}Of{}x{}x{}Heads{}And{}x{}{}",
                       kPasses[static_cast<std::size_t>(asked.pass)], asked.device.capability.major,
                       asked.device.capability.minor, s.batch, s.query_length, s.key_length,
                       s.heads, s.kv_heads, s.head_dim,
                       asked.dtype == DType::float16 ? "InFloat16" : "");
}

cudnn::Layout layout_of(std::int64_t length, std::int64_t heads, std::int64_t head_dim) {
    return {length * heads * head_dim, heads * head_dim, head_dim};
}

/// Throws Error where there is no plan.
std::uint64_t asked_workspace(const Case& asked) {
    const Shape& s = asked.shape;
    const cudnn::Layout q = layout_of(s.query_length, s.heads, s.head_dim);
    const cudnn::Layout k = layout_of(s.key_length, s.kv_heads, s.head_dim);
    const cudnn::Functions& functions = *library().functions;
    const cudnn::DataType type =
        asked.dtype == DType::float16 ? cudnn::DataType::float16 : cudnn::DataType::bfloat16;
    const cudnn::Target target(functions, description(asked.device));
    cudnn::Graph graph(functions);
    if (asked.pass == Pass::forward) {
        cudnn::build_forward(graph, s, type, {q, k, k, q});
    } else {
        cudnn::build_backward(graph, s, type, {q, k, k, q, q, q, k, k},
                              asked.pass == Pass::deterministic_backward);
    }
    return cudnn::Plan(target, graph).workspace_bytes();
}

attention::Support promised(const Case& asked, std::size_t version) {
    if (asked.pass == Pass::forward) {
        return cudnn::supports_forward(asked.device.capability, version, asked.shape, asked.dtype);
    }
    return cudnn::supports_backward(asked.device.capability, version, asked.shape, asked.dtype,
                                    asked.pass == Pass::deterministic_backward);
}

std::vector<Case> cases() {
    const Shape odd = shape_of(1, 129, 129, 4, 2, 128);
    const Shape longer = shape_of(2, 1001, 1001, 4, 2, 128);
    std::vector<Case> all;
    for (const Device& device : {kA100, kA40, kL40, kH100, kB200, kB300, kRtx5090}) {
        std::vector<Pass> passes{Pass::forward, Pass::backward};
        if (device.capability.major != 10) passes.push_back(Pass::deterministic_backward);
        for (const Pass pass : passes) {
            all.push_back({device, pass, odd});
            all.push_back({device, pass, odd, DType::float16});
            all.push_back({device, pass, longer});
        }
    }
    for (const Device& device : {kA100, kH100}) {
        for (const Pass pass : {Pass::backward, Pass::deterministic_backward}) {
            all.push_back({device, pass, shape_of(4, 1000, 1000, 16, 16, 64)});
            all.push_back({device, pass, shape_of(1, 65, 200, 4, 2, 64)});
            all.push_back({device, pass, shape_of(1, 100, 100, 4, 2, 72)});
        }
    }
    all.push_back({kH100, Pass::backward, shape_of(1, 200, 200, 4, 4, 256)});
    all.push_back({kH100, Pass::forward, shape_of(1, 1, 1, 4, 4, 64)});
    return all;
}

class CudnnPlanCompiler : public testing::TestWithParam<Case> {
protected:
    void SetUp() override {
        if (library().functions == nullptr) GTEST_SKIP() << library().missing;
    }
};

TEST_P(CudnnPlanCompiler, ExistAndFitTheirPlannedWorkspace) {
    const Case& asked = GetParam();
    const attention::Support support = promised(asked, library().functions->get_version());
    if (!support.supported) {
        ASSERT_LT(library().functions->get_version(), kFirstWithAllOfThem) << support.reason;
        GTEST_SKIP() << support.reason;
    }
    const std::uint64_t bytes = asked_workspace(asked);
    const bool deterministic = asked.pass == Pass::deterministic_backward;
    const std::uint64_t planned =
        asked.pass == Pass::forward
            ? cost::kGpuScratchBytes
            : std::max(cost::kGpuScratchBytes,
                       cost::cudnn_workspace_bytes(asked.shape.size(), deterministic));
    EXPECT_LE(bytes, planned);
    if (asked.pass != Pass::forward) {
        EXPECT_LE(bytes, cost::cudnn_workspace_bytes(asked.shape.size(), deterministic));
    }
}

INSTANTIATE_TEST_SUITE_P(Devices, CudnnPlanCompiler, testing::ValuesIn(cases()),
                         [](const auto& each) { return name_of(each.param); });

class CudnnPlanCompilerItself : public CudnnPlanCompiler {};

TEST_F(CudnnPlanCompilerItself, DoNotExistWhereTheyAreNotPromised) {
    // Backward of wide heads is for capability 9.0 only.
    for (const Device& device : {kA100, kL40, kB200, kRtx5090}) {
        const Case wide{device, Pass::backward, shape_of(1, 256, 256, 4, 4, 256)};
        EXPECT_THROW((void)asked_workspace(wide), Error) << device.capability.major;
    }
}

}  // namespace
}  // namespace isoflop::test
