// The graphs that cuDNN is given, and what it is called with, by a recording fake.
#include <filesystem>
#include <fstream>

#include "attention/cudnn/fused_attention.hpp"
#include "attention/emulated/recording_cudnn.hpp"
#include "isoflop/base/error.hpp"

namespace isoflop::test {
namespace {

using attention::BackwardArguments;
using attention::ForwardArguments;
using attention::Heads;
using attention::Shape;
using cudnn::Attribute;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Pair;
using testing::UnorderedElementsAre;

constexpr std::int64_t kBatch = 2, kLength = 256, kHeads = 8, kWidth = 64;

Shape shape_of(bool causal, std::int64_t kv_heads) {
    return {.batch = kBatch,
            .query_length = kLength,
            .key_length = kLength,
            .heads = kHeads,
            .kv_heads = kv_heads,
            .head_dim = kWidth,
            .causal = causal,
            .scale = 0.125};
}

void* place(std::uintptr_t number) {
    return reinterpret_cast<void*>(0x1000 * number);
}

/// Rows of q, k and v side by side.
Heads packed(std::uintptr_t number, std::int64_t kv_heads) {
    const std::int64_t row = (kHeads + 2 * kv_heads) * kWidth;
    return {.data = place(number),
            .dtype = DType::bfloat16,
            .batch_stride = kLength * row,
            .token_stride = row,
            .head_stride = kWidth};
}
Heads plain(std::uintptr_t number) {
    return {.data = place(number),
            .dtype = DType::bfloat16,
            .batch_stride = kLength * kHeads * kWidth,
            .token_stride = kHeads * kWidth,
            .head_stride = kWidth};
}
device::TensorView floats(std::uintptr_t number, std::int64_t width = 1) {
    return {place(number), DType::float32, {kBatch, kHeads, kLength, width}};
}

ForwardArguments forward_arguments(std::int64_t kv_heads) {
    ForwardArguments arguments;
    arguments.q = packed(1, kv_heads);
    arguments.k = packed(2, kv_heads);
    arguments.v = packed(3, kv_heads);
    arguments.o = plain(4);
    arguments.lse = floats(5);
    return arguments;
}
BackwardArguments backward_arguments(std::int64_t kv_heads, bool deterministic) {
    BackwardArguments arguments;
    arguments.q = packed(1, kv_heads);
    arguments.k = packed(2, kv_heads);
    arguments.v = packed(3, kv_heads);
    arguments.o = plain(4);
    arguments.d_o = plain(5);
    arguments.lse = floats(6);
    arguments.row_sums = floats(7);
    arguments.d_q = packed(8, kv_heads);
    arguments.d_k = packed(9, kv_heads);
    arguments.d_v = packed(10, kv_heads);
    if (!deterministic) arguments.d_q_sums = floats(11, kWidth);
    return arguments;
}

class CudnnAttention : public testing::Test {
protected:
    ~CudnnAttention() override {
        attention_.reset();
        EXPECT_THAT(cudnn_.violations, testing::IsEmpty());
    }
    CUstream_st* const stream_ = reinterpret_cast<CUstream_st*>(0x77);
    RecordingCudnn cudnn_;
    std::unique_ptr<cudnn::FusedAttention> attention_ = make({8, 0});

    std::unique_ptr<cudnn::FusedAttention> make(const cudnn::Capability& device,
                                                cudnn::PlanCache cache = {}) {
        return std::make_unique<cudnn::FusedAttention>(cudnn_.functions(), device, stream_,
                                                       std::move(cache));
    }
    template <class Arguments>
    void run(const Shape& shape, const Arguments& arguments) {
        const auto support = attention_->prepare(shape, arguments);
        ASSERT_TRUE(support.supported) << support.reason;
        attention_->run(shape, arguments, place(99));
    }
    void expect_tensor(std::int64_t uid, const std::vector<std::int64_t>& dims,
                       const std::vector<std::int64_t>& strides,
                       cudnn::DataType type = cudnn::DataType::bfloat16) {
        const RecordingCudnn::Record& tensor = cudnn_.tensors.at(uid);
        EXPECT_EQ(tensor.all<std::int64_t>(Attribute::tensor_dimensions), dims) << uid;
        EXPECT_EQ(tensor.all<std::int64_t>(Attribute::tensor_strides), strides) << uid;
        EXPECT_EQ(tensor.one<int>(Attribute::tensor_data_type), static_cast<int>(type)) << uid;
        EXPECT_EQ(tensor.one<std::int64_t>(Attribute::tensor_byte_alignment), 16);
        EXPECT_FALSE(tensor.one<bool>(Attribute::tensor_is_by_value));
    }
    [[nodiscard]] bool is_virtual(std::int64_t uid) const {
        return cudnn_.tensors.at(uid).one<bool>(Attribute::tensor_is_virtual);
    }
};

TEST_F(CudnnAttention, CausalForwardHasFourteenOperations) {
    run(shape_of(true, 2), forward_arguments(2));
    EXPECT_THAT(
        cudnn_.operations,
        ElementsAre("matmul 1 2 -> 1000", "mul 1000 6 -> 1001", "index2 1001 -> 1002",
                    "index3 1001 -> 1003", "cmp_ge 1002 1003 -> 1004", "select 1001 7 1004 -> 1005",
                    "reduce3 1005 -> 1006", "sub 1005 1006 -> 1007", "exp 1007 -> 1008",
                    "reduce0 1008 -> 1009", "log 1009 -> 1010", "add 1006 1010 -> 5",
                    "div 1008 1009 -> 1011", "matmul 1011 3 -> 4"));
}

TEST_F(CudnnAttention, FullForwardHasNoMask) {
    run(shape_of(false, kHeads), forward_arguments(kHeads));
    EXPECT_THAT(cudnn_.operations,
                ElementsAre("matmul 1 2 -> 1000", "mul 1000 6 -> 1001", "reduce3 1001 -> 1002",
                            "sub 1001 1002 -> 1003", "exp 1003 -> 1004", "reduce0 1004 -> 1005",
                            "log 1005 -> 1006", "add 1002 1006 -> 5", "div 1004 1005 -> 1007",
                            "matmul 1007 3 -> 4"));
    EXPECT_THAT(cudnn_.runs.at(0).numbers, UnorderedElementsAre(Pair(cudnn::kScale, 0.125F)));
}

TEST_F(CudnnAttention, ForwardTensorsLieAsTheArgumentsSay) {
    run(shape_of(true, 2), forward_arguments(2));
    const std::int64_t row = 12 * kWidth;
    expect_tensor(cudnn::kQ, {kBatch, kHeads, kLength, kWidth}, {kLength * row, kWidth, row, 1});
    expect_tensor(cudnn::kK, {kBatch, 2, kWidth, kLength}, {kLength * row, kWidth, 1, row});
    expect_tensor(cudnn::kV, {kBatch, 2, kLength, kWidth}, {kLength * row, kWidth, row, 1});
    expect_tensor(cudnn::kO, {kBatch, kHeads, kLength, kWidth},
                  {kLength * kHeads * kWidth, kWidth, kHeads * kWidth, 1});
    expect_tensor(cudnn::kLse, {kBatch, kHeads, kLength, 1}, {kHeads * kLength, kLength, 1, 1},
                  cudnn::DataType::float32);
    for (const std::int64_t uid : {1, 2, 3, 4, 5, 6, 7}) EXPECT_FALSE(is_virtual(uid)) << uid;
    const std::vector<std::int64_t> scores = {kBatch, kHeads, kLength, kLength};
    for (const std::int64_t uid : {1000, 1001, 1005, 1007, 1008, 1011}) {
        EXPECT_TRUE(is_virtual(uid)) << uid;
        expect_tensor(uid, scores, {kHeads * kLength * kLength, kLength * kLength, kLength, 1},
                      uid == 1011 ? cudnn::DataType::bfloat16 : cudnn::DataType::float32);
    }
    EXPECT_EQ(cudnn_.tensors.at(1004).one<int>(Attribute::tensor_data_type),
              static_cast<int>(cudnn::DataType::boolean));
}

TEST_F(CudnnAttention, ForwardIsRunWithAllAddressesAndNumbers) {
    run(shape_of(true, 2), forward_arguments(2));
    ASSERT_EQ(cudnn_.runs.size(), 1U);
    const RecordingCudnn::Run& run = cudnn_.runs.front();
    EXPECT_THAT(run.addresses,
                UnorderedElementsAre(Pair(cudnn::kQ, place(1)), Pair(cudnn::kK, place(2)),
                                     Pair(cudnn::kV, place(3)), Pair(cudnn::kO, place(4)),
                                     Pair(cudnn::kLse, place(5))));
    EXPECT_THAT(run.numbers, UnorderedElementsAre(Pair(cudnn::kScale, 0.125F),
                                                  Pair(cudnn::kMinusInfinity,
                                                       -std::numeric_limits<float>::infinity())));
    EXPECT_EQ(run.workspace, place(99));
    EXPECT_EQ(attention_->workspace_bytes(shape_of(true, 2), forward_arguments(2)), 4096U);
    EXPECT_EQ(cudnn_.stream, stream_);
}

TEST_F(CudnnAttention, CausalGroupedBackwardHasTwentyFourOperations) {
    run(shape_of(true, 2), backward_arguments(2, false));
    EXPECT_THAT(
        cudnn_.operations,
        ElementsAre("mul 9 4 -> 1000", "reduce0 1000 -> 1001", "mul 1001 8 -> 13",
                    "matmul 1 2 -> 1003", "mul 1003 6 -> 1004", "sub 1004 5 -> 1002",
                    "index2 1002 -> 1006", "index3 1002 -> 1007", "cmp_ge 1006 1007 -> 1008",
                    "select 1002 7 1008 -> 1009", "exp 1009 -> 1005", "reshape 1005 -> 1010",
                    "matmul 1010 9 -> 1011", "reduce0 1011 -> 12", "matmul 9 3 -> 1012",
                    "sub 1012 13 -> 1013", "mul 1013 1005 -> 1014", "mul 1014 6 -> 1015",
                    "reshape 1015 -> 1016", "matmul 1016 1 -> 1017", "reduce0 1017 -> 11",
                    "reshape 2 -> 1018", "matmul 1015 1018 -> 14", "identity 14 -> 10"));
}

TEST_F(CudnnAttention, BackwardTensorsLieAsTheArgumentsSay) {
    run(shape_of(true, 2), backward_arguments(2, false));
    const std::int64_t row = 12 * kWidth;
    const std::int64_t square = kLength * kLength;
    expect_tensor(cudnn::kV, {kBatch, 2, kWidth, kLength}, {kLength * row, kWidth, 1, row});
    expect_tensor(cudnn::kDK, {kBatch, 2, kLength, kWidth}, {kLength * row, kWidth, row, 1});
    expect_tensor(cudnn::kDQ, {kBatch, kHeads, kLength, kWidth}, {kLength * row, kWidth, row, 1});
    expect_tensor(cudnn::kRowSums, {kBatch, kHeads, kLength, 1}, {kHeads * kLength, kLength, 1, 1},
                  cudnn::DataType::float32);
    expect_tensor(cudnn::kDQSums, {kBatch, kHeads, kLength, kWidth},
                  {kHeads * kLength * kWidth, kLength * kWidth, kWidth, 1},
                  cudnn::DataType::float32);
    EXPECT_FALSE(is_virtual(cudnn::kRowSums));
    EXPECT_FALSE(is_virtual(cudnn::kDQSums));
    // The transposed probabilities, d_k of all heads, and keys as they lie.
    expect_tensor(1010, {kBatch, kHeads, kLength, kLength}, {kHeads * square, square, 1, kLength});
    expect_tensor(1017, {kBatch, kHeads, kLength, kWidth},
                  {kHeads * kLength * kWidth, kLength * kWidth, kWidth, 1});
    expect_tensor(1018, {kBatch, 2, kLength, kWidth}, {kLength * row, kWidth, row, 1});
    EXPECT_TRUE(is_virtual(1010) && is_virtual(1017) && is_virtual(1018));
}

TEST_F(CudnnAttention, BackwardIsRunWithAllAddressesAndNumbers) {
    run(shape_of(true, 2), backward_arguments(2, false));
    const RecordingCudnn::Run& run = cudnn_.runs.at(0);
    EXPECT_THAT(run.addresses,
                UnorderedElementsAre(Pair(cudnn::kQ, place(1)), Pair(cudnn::kK, place(2)),
                                     Pair(cudnn::kV, place(3)), Pair(cudnn::kO, place(4)),
                                     Pair(cudnn::kDO, place(5)), Pair(cudnn::kLse, place(6)),
                                     Pair(cudnn::kRowSums, place(7)), Pair(cudnn::kDQ, place(8)),
                                     Pair(cudnn::kDK, place(9)), Pair(cudnn::kDV, place(10)),
                                     Pair(cudnn::kDQSums, place(11))));
    EXPECT_THAT(
        run.numbers,
        UnorderedElementsAre(Pair(cudnn::kScale, 0.125F), Pair(cudnn::kOne, 1.0F),
                             Pair(cudnn::kMinusInfinity, -std::numeric_limits<float>::infinity())));
}

TEST_F(CudnnAttention, BackwardWithAsManyKeyHeadsReducesNothing) {
    run(shape_of(false, kHeads), backward_arguments(kHeads, false));
    EXPECT_EQ(cudnn_.operations.size(), 18U);  // 22 without the four of the mask
    EXPECT_THAT(cudnn_.operations, testing::Contains("matmul 1006 9 -> 12"));
    run(shape_of(true, kHeads), backward_arguments(kHeads, false));
    EXPECT_EQ(cudnn_.operations.size(), 22U);
}

TEST_F(CudnnAttention, DeterministicBackwardSumsNothingInMemory) {
    run(shape_of(true, 2), backward_arguments(2, true));
    EXPECT_EQ(cudnn_.operations.size(), 23U);
    EXPECT_EQ(cudnn_.operations.back(), "matmul 1015 1018 -> 10");
    EXPECT_FALSE(cudnn_.runs.at(0).addresses.contains(cudnn::kDQSums));
}

TEST_F(CudnnAttention, PlansAreMadeOncePerShapeAndLayout) {
    Shape shape = shape_of(true, 2);
    run(shape, forward_arguments(2));
    shape.scale = 0.5;  // is given with every call
    run(shape, forward_arguments(2));
    EXPECT_EQ(cudnn_.plans, 1);
    EXPECT_EQ(cudnn_.runs.at(1).numbers.at(cudnn::kScale), 0.5F);
    auto other = forward_arguments(2);
    other.q = plain(1);
    run(shape, other);
    EXPECT_EQ(cudnn_.plans, 2);
    run(shape, backward_arguments(2, true));
    run(shape, backward_arguments(2, false));
    run(shape, backward_arguments(2, true));
    EXPECT_EQ(cudnn_.plans, 4);
    attention_.reset();
    EXPECT_EQ(cudnn_.living, 0);
    EXPECT_EQ(cudnn_.handles, 0);
}

TEST_F(CudnnAttention, TheNextEngineIsTakenWhenOneRefuses) {
    cudnn_.engines = 3;
    cudnn_.refused_engines = 2;
    run(shape_of(true, 2), forward_arguments(2));
    EXPECT_EQ(cudnn_.plans, 1);
    EXPECT_EQ(attention_->workspace_bytes(shape_of(true, 2), forward_arguments(2)), 4096U);
}

TEST_F(CudnnAttention, WithoutAPlanTheReasonIsCudnnsOwn) {
    cudnn_.refused_engines = 1;
    const auto support = attention_->prepare(shape_of(true, 2), forward_arguments(2));
    EXPECT_FALSE(support.supported);
    EXPECT_THAT(support.reason, HasSubstr("execution plan"));
    EXPECT_THAT(support.reason, HasSubstr("because of the test"));
    cudnn_.engines = 0;
    EXPECT_THAT(attention_->prepare(shape_of(false, 2), forward_arguments(2)).reason,
                HasSubstr("propose no engine"));
}

/// A folder of plans that goes away with the test.
class CudnnPlans : public CudnnAttention {
protected:
    void SetUp() override { std::filesystem::remove_all(folder_); }
    void TearDown() override { std::filesystem::remove_all(folder_); }
    void start(const std::string& origin = "cuDNN 9.19.0, a GPU") {
        attention_ = make({8, 0}, cudnn::PlanCache(folder_, origin));
    }
    [[nodiscard]] std::vector<std::filesystem::path> files() const {
        std::vector<std::filesystem::path> all;
        for (const auto& entry : std::filesystem::directory_iterator(folder_))
            all.push_back(entry.path());
        return all;
    }

    const std::filesystem::path folder_ =
        std::filesystem::path(testing::TempDir()) /
        (std::string("cudnn_plans_") +
         testing::UnitTest::GetInstance()->current_test_info()->name());
};

TEST_F(CudnnPlans, AreCompiledOnceAndThenRead) {
    start();
    run(shape_of(true, 2), forward_arguments(2));
    run(shape_of(true, 2), backward_arguments(2, true));
    EXPECT_EQ(cudnn_.plans, 2);
    EXPECT_EQ(files().size(), 2U);
    start();
    cudnn_.operations.clear();
    run(shape_of(true, 2), forward_arguments(2));
    run(shape_of(true, 2), backward_arguments(2, true));
    EXPECT_EQ(cudnn_.plans, 2);
    EXPECT_EQ(cudnn_.read_plans, 2);
    EXPECT_THAT(cudnn_.operations, testing::IsEmpty());
    EXPECT_EQ(attention_->workspace_bytes(shape_of(true, 2), forward_arguments(2)), 4096U);
    EXPECT_EQ(cudnn_.runs.size(), 4U);
    EXPECT_EQ(cudnn_.runs.at(2).addresses, cudnn_.runs.at(0).addresses);
}

TEST_F(CudnnPlans, AreThoseOfTheirShapeLayoutAndDevice) {
    start();
    run(shape_of(true, 2), backward_arguments(2, true));
    run(shape_of(true, 2), backward_arguments(2, false));
    run(shape_of(false, 2), backward_arguments(2, false));
    start("cuDNN 9.19.0, another GPU");
    run(shape_of(false, 2), backward_arguments(2, false));
    EXPECT_EQ(cudnn_.plans, 4);
    EXPECT_EQ(cudnn_.read_plans, 0);
    EXPECT_EQ(files().size(), 4U);
}

TEST_F(CudnnPlans, AreCompiledAgainWhenDamaged) {
    start();
    run(shape_of(true, 2), forward_arguments(2));
    const std::filesystem::path file = files().at(0);
    const auto size = std::filesystem::file_size(file);
    for (const auto kept : {size - 1, size / 2, std::uintmax_t{0}}) {
        std::filesystem::resize_file(file, kept);
        cudnn_.plans = cudnn_.read_plans = 0;
        start();
        run(shape_of(true, 2), forward_arguments(2));
        EXPECT_EQ(cudnn_.plans, 1) << kept;
        EXPECT_EQ(cudnn_.read_plans, 0) << kept;
        EXPECT_EQ(std::filesystem::file_size(file), size) << "put again";
    }
}

TEST_F(CudnnPlans, AreCompiledAgainWhenCudnnRefusesThem) {
    start();
    run(shape_of(true, 2), forward_arguments(2));
    start();
    cudnn_.refuses_read_plans = true;
    run(shape_of(true, 2), forward_arguments(2));
    EXPECT_EQ(cudnn_.plans, 2);
    EXPECT_EQ(cudnn_.runs.size(), 2U);
}

TEST_F(CudnnPlans, NeedNoFolder) {
    { std::ofstream(folder_) << "in the way"; }
    start();
    run(shape_of(true, 2), forward_arguments(2));
    EXPECT_EQ(cudnn_.runs.size(), 1U);
}

TEST_F(CudnnAttention, FailsToStartWithCudnnsWords) {
    cudnn_.create_status = 1001;
    try {
        (void)make({9, 0});
        FAIL() << "started";
    } catch (const Error& error) {
        EXPECT_THAT(error.what(), HasSubstr("cudnnCreate: CUDNN_STATUS"));
    }
}

TEST_F(CudnnAttention, IsOfTheCudaOfTheProgram) {
    cudnn_.cudart_version = 12090;
    EXPECT_NO_THROW(cudnn::check_cuda_major(cudnn_.functions(), 12));
    try {
        cudnn::check_cuda_major(cudnn_.functions(), 13);
        FAIL() << "taken";
    } catch (const ConfigError& error) {
        EXPECT_THAT(error.what(), HasSubstr("cuDNN 9.19.0 is for CUDA 12, this program was built "
                                            "with CUDA 13 (PyPI: nvidia-cudnn-cu13)"));
    }
}

/// What is wrong with a use of cuDNN, each planted once.
class PlantedInCudnn : public testing::Test {
protected:
    void expect(const char* what) {
        EXPECT_THAT(std::exchange(cudnn_.violations, {}), testing::Contains(std::string(what)));
    }
    cudnn::Descriptor tensor(std::int64_t uid) {
        cudnn::Descriptor made(table_, cudnn::DescriptorType::tensor);
        made.set_all(Attribute::tensor_dimensions, cudnn::ValueType::int64,
                     std::vector<std::int64_t>{1, 1, 1, 1});
        made.set_all(Attribute::tensor_strides, cudnn::ValueType::int64,
                     std::vector<std::int64_t>{1, 1, 1, 1});
        made.set(Attribute::tensor_byte_alignment, cudnn::ValueType::int64, std::int64_t{16});
        made.set(Attribute::tensor_unique_id, cudnn::ValueType::int64, uid);
        return made;
    }
    RecordingCudnn cudnn_;
    cudnn::Functions table_ = cudnn_.functions();
};

TEST_F(PlantedInCudnn, DescriptorsAreWatched) {
    cudnn::Descriptor made = tensor(1);
    cudnn::Descriptor operation(table_, cudnn::DescriptorType::operation_matmul);
    EXPECT_THROW(operation.set(Attribute::operation_matmul_adesc, made), Error);
    expect("a part that is not ready");
    made.finalize("tensor");
    EXPECT_THROW(made.set(Attribute::tensor_unique_id, cudnn::ValueType::int64, std::int64_t{2}),
                 Error);
    expect("an attribute set after its descriptor is ready");
    EXPECT_THROW(tensor(0).finalize("tensor"), Error);
    expect("a tensor that is not described");
    const cudnn::Descriptor heuristics(table_, cudnn::DescriptorType::engine_heuristics);
    EXPECT_THROW((void)heuristics.text(Attribute::execution_plan_json_representation), Error);
    expect("an attribute asked for before its descriptor is ready");
    int none = 0;
    EXPECT_NE(table_.backend_finalize(&none), cudnn::kSuccess);
    expect("a descriptor that does not live");
}

TEST_F(PlantedInCudnn, RunsAreWatched) {
    cudnn::Handle handle = nullptr;
    EXPECT_EQ(table_.create(&handle), cudnn::kSuccess);
    {
        cudnn::Graph graph(table_);
        cudnn::build_forward(graph, shape_of(true, 2), cudnn::DataType::bfloat16, {});
        const cudnn::Plan plan(cudnn::Target(table_, handle), graph);
        std::map<std::int64_t, void*> addresses;
        float number = 1;
        for (const std::int64_t uid : {1, 2, 3, 4, 5}) addresses[uid] = place(1);
        for (const std::int64_t uid : {6, 7}) addresses[uid] = &number;
        EXPECT_THROW(plan.run(handle, addresses, place(9)), Error);
        expect("a run before the stream is known");
        EXPECT_EQ(table_.set_stream(handle, reinterpret_cast<CUstream_st*>(0x77)), cudnn::kSuccess);
        plan.run(handle, addresses, place(9));
        EXPECT_THAT(cudnn_.violations, testing::IsEmpty());
        EXPECT_THROW(plan.run(nullptr, addresses, place(9)), Error);
        expect("a run with another handle");
        plan.run(handle, addresses, nullptr);
        expect("a run without workspace");
        addresses[2] = static_cast<std::byte*>(place(2)) + 8;
        plan.run(handle, addresses, place(9));
        expect("an address less aligned than was declared");
        addresses.erase(2);
        plan.run(handle, addresses, place(9));
        expect("a run without all tensors");
        addresses[2] = nullptr;
        EXPECT_THROW(plan.run(handle, addresses, place(9)), Error);
        expect("a tensor at no address");
        EXPECT_EQ(table_.destroy(handle), cudnn::kSuccess);
        expect("a handle that ends before its plans");
    }
}

TEST_F(CudnnAttention, UnalignedTensorsAreRefused) {
    auto arguments = forward_arguments(2);
    arguments.k.data = static_cast<std::byte*>(arguments.k.data) + 8;
    ASSERT_TRUE(attention_->prepare(shape_of(true, 2), arguments).supported);
    EXPECT_THROW(attention_->run(shape_of(true, 2), arguments, nullptr), std::invalid_argument);
}

constexpr std::size_t kVersion = 91900;

TEST(CudnnCapability, WideHeadsGoBackwardOnHopperOnly) {
    Shape shape = shape_of(true, 2);
    shape.head_dim = 256;
    for (const cudnn::Capability device : {cudnn::Capability{8, 0}, {8, 9}, {10, 0}, {12, 0}}) {
        EXPECT_TRUE(cudnn::supports_forward(device, kVersion, shape, DType::bfloat16).supported);
        EXPECT_FALSE(
            cudnn::supports_backward(device, kVersion, shape, DType::bfloat16, false).supported);
    }
    EXPECT_TRUE(
        cudnn::supports_backward({9, 0}, kVersion, shape, DType::bfloat16, false).supported);
}

TEST(CudnnCapability, KnownDefectsAndLimitsAreRefusedWithTheReason) {
    Shape shape = shape_of(true, 2);
    shape.query_length = shape.key_length = 192;
    EXPECT_TRUE(cudnn::supports_forward({9, 0}, kVersion, shape, DType::float16).supported);
    EXPECT_THAT(cudnn::supports_backward({9, 0}, kVersion, shape, DType::float16, false).reason,
                HasSubstr("is wrong for lengths"));
    EXPECT_TRUE(cudnn::supports_backward({8, 0}, kVersion, shape, DType::float16, false).supported);

    shape.query_length = shape.key_length = 8192;
    EXPECT_TRUE(cudnn::supports_backward({8, 0}, kVersion, shape, DType::float16, false).supported);
    EXPECT_THAT(cudnn::supports_backward({8, 0}, kVersion, shape, DType::float16, true).reason,
                HasSubstr("keeps 2048 MiB of score gradients, more than 256 MiB"));
    EXPECT_THAT(
        cudnn::supports_backward({10, 0}, kVersion, shape_of(true, 2), DType::float16, true).reason,
        HasSubstr("no engine"));

    shape.query_length = 100;
    EXPECT_THAT(cudnn::supports_forward({8, 0}, kVersion, shape, DType::float16).reason,
                HasSubstr("equal lengths"));
    shape.causal = false;
    EXPECT_TRUE(cudnn::supports_forward({8, 0}, kVersion, shape, DType::float16).supported);
    EXPECT_FALSE(cudnn::supports_forward({7, 5}, kVersion, shape, DType::float16).supported);
    EXPECT_FALSE(cudnn::supports_forward({8, 0}, kVersion, shape, DType::float32).supported);
    shape.head_dim = 100;
    EXPECT_FALSE(cudnn::supports_forward({8, 0}, kVersion, shape, DType::float16).supported);
}

struct VersionCase {
    std::size_t version = 0;
    cudnn::Capability device;
    std::int64_t queries = 0;
    std::int64_t keys = 0;
    const char* forward = "";   ///< reason of a refusal, or empty
    const char* backward = "";  ///< likewise
};

class CudnnVersions : public testing::TestWithParam<VersionCase> {};

TEST_P(CudnnVersions, DecideWhichShapesAreRight) {
    const VersionCase& p = GetParam();
    for (const DType dtype : {DType::bfloat16, DType::float16}) {
        for (const bool deterministic : {false, true}) {
            Shape shape = shape_of(p.queries == p.keys, 2);
            shape.query_length = p.queries;
            shape.key_length = p.keys;
            const auto forward = cudnn::supports_forward(p.device, p.version, shape, dtype);
            EXPECT_EQ(forward.supported, std::string_view(p.forward).empty()) << forward.reason;
            EXPECT_THAT(forward.reason, HasSubstr(p.forward));
            const auto backward =
                cudnn::supports_backward(p.device, p.version, shape, dtype, deterministic);
            EXPECT_EQ(backward.supported, std::string_view(p.backward).empty()) << backward.reason;
            EXPECT_THAT(backward.reason, HasSubstr(p.backward));
        }
    }
}

constexpr const char* kAll = "its fused attention is wrong before 9.10.2";
constexpr const char* kTiles = "its backward pass is wrong before 9.16.0 for";
constexpr const char* kOne = "for a single query";
INSTANTIATE_TEST_SUITE_P(
    Table, CudnnVersions,
    testing::Values(
        // 9.10.0 and 9.10.1: nothing in 16 bits.
        VersionCase{91000, {8, 0}, 256, 256, kAll, kAll},
        VersionCase{91001, {12, 0}, 256, 256, kAll, kAll},
        VersionCase{91001, {9, 0}, 1000, 1000, kAll, kAll}, VersionCase{91002, {8, 0}, 256, 256},
        // Before 9.16: backward of whole tiles of 128 keys only, on every architecture.
        VersionCase{91002, {8, 0}, 1000, 1000, "", kTiles},
        VersionCase{91300, {8, 9}, 192, 192, "", kTiles},
        VersionCase{91500, {9, 0}, 1000, 1000, "", kTiles},
        VersionCase{91501, {12, 0}, 1025, 1025, "", kTiles},
        VersionCase{91599, {8, 6}, 256, 100, "", kTiles}, VersionCase{91500, {8, 0}, 100, 256},
        VersionCase{91500, {9, 0}, 1024, 1024}, VersionCase{91600, {8, 0}, 1000, 1000},
        VersionCase{91600, {9, 0}, 1000, 1000}, VersionCase{91600, {8, 0}, 192, 192},
        VersionCase{92600, {12, 0}, 1025, 1025},
        // One query.
        VersionCase{91900, {9, 0}, 1, 128, "", kOne}, VersionCase{92600, {9, 0}, 1, 1, "", kOne},
        VersionCase{92600, {8, 0}, 1, 1, "", kOne}, VersionCase{91900, {8, 0}, 1, 128},
        VersionCase{91900, {9, 0}, 2, 2}));

TEST_F(CudnnAttention, OldVersionsAreNotAskedForWhatTheyDoWrong) {
    cudnn_.version = 91500;
    attention_ = make({8, 0});
    Shape shape = shape_of(true, 2);
    shape.query_length = shape.key_length = 200;
    EXPECT_TRUE(attention_->prepare(shape, forward_arguments(2)).supported);
    EXPECT_THAT(attention_->prepare(shape, backward_arguments(2, true)).reason, HasSubstr(kTiles));
    EXPECT_EQ(cudnn_.plans, 1);
}

}  // namespace
}  // namespace isoflop::test
