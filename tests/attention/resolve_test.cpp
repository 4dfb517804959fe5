// Which backend runs, and why.
#include <gmock/gmock.h>

#include "attention_problem.hpp"
#include "isoflop/base/error.hpp"

namespace isoflop::test {
namespace {

using attention::resolve;
using cost::DeviceKind;

TEST(AttentionResolve, EveryBackendRunsAsRequested) {
    for (const AttentionBackend backend : kAllBackends) {
        const auto resolution =
            resolve(backend, DeviceKind::cpu, make_shape(8, 8, 64), DType::float32);
        EXPECT_EQ(resolution.requested, backend);
        EXPECT_EQ(resolution.used, backend);
        EXPECT_EQ(resolution.reason, "as requested");
        EXPECT_EQ(attention::make_backend(backend, device::host_device())->kind(), backend);
    }
}

TEST(AttentionResolve, FallsBackStepByStep) {
    const Shape shape = make_shape(8, 8, 64);
    const auto first = resolve(AttentionBackend::flash_attn_2, DeviceKind::cpu, shape,
                               DType::float32, "flash_attn_2");
    EXPECT_EQ(first.used, AttentionBackend::sdpa);
    EXPECT_EQ(first.reason, "flash_attn_2: disabled");

    const auto second = resolve(AttentionBackend::flash_attn_2, DeviceKind::cpu, shape,
                                DType::float32, "flash_attn_2, sdpa");
    EXPECT_EQ(second.requested, AttentionBackend::flash_attn_2);
    EXPECT_EQ(second.used, AttentionBackend::manual);
    EXPECT_EQ(second.reason, "flash_attn_2 and sdpa: disabled");

    const auto from_sdpa =
        resolve(AttentionBackend::sdpa, DeviceKind::cpu, shape, DType::float32, "sdpa");
    EXPECT_EQ(from_sdpa.used, AttentionBackend::manual);
    EXPECT_EQ(from_sdpa.reason, "sdpa: disabled");

    EXPECT_THROW((void)resolve(AttentionBackend::flash_attn_2, DeviceKind::cpu, shape,
                               DType::float32, "flash_attn_2,sdpa,manual"),
                 ConfigError);
    EXPECT_THROW(
        (void)resolve(AttentionBackend::manual, DeviceKind::cpu, shape, DType::float32, "manual"),
        ConfigError);
}

TEST(AttentionResolve, WideHeadsFallBackToManual) {
    const auto resolution = resolve(AttentionBackend::flash_attn_2, DeviceKind::cpu,
                                    make_shape(8, 8, 320), DType::float32);
    EXPECT_EQ(resolution.used, AttentionBackend::manual);
    EXPECT_EQ(resolution.reason, "flash_attn_2 and sdpa: head_dim 320 is over 256");
}

TEST(AttentionResolve, WindowsHaveFusedKernelsEverywhere) {
    const Shape shape = with_window(make_shape(8, 8, 64), 3);
    for (const AttentionBackend backend : kAllBackends) {
        EXPECT_EQ(resolve(backend, DeviceKind::cpu, shape, DType::float32).used, backend);
        EXPECT_EQ(resolve(backend, DeviceKind::cuda, shape, DType::bfloat16).used, backend);
    }
}

TEST(AttentionResolve, SoftCapsFallBackToManualOnGpus) {
    Shape shape = make_shape(8, 8, 64);
    shape.soft_cap = 50;
    for (const AttentionBackend backend : kAllBackends)
        EXPECT_EQ(resolve(backend, DeviceKind::cpu, shape, DType::float32).used, backend);
    const auto on_gpu =
        resolve(AttentionBackend::flash_attn_2, DeviceKind::cuda, shape, DType::bfloat16);
    EXPECT_EQ(on_gpu.used, AttentionBackend::manual);
    EXPECT_EQ(on_gpu.reason,
              "flash_attn_2 and sdpa: no fused CUDA kernel has a soft cap of scores");
}

TEST(AttentionResolve, GpusHaveFusedKernelsForSomeSizesAndManualAttentionForAll) {
    const auto resolve_on_gpu = [](std::int64_t head_dim, DType dtype) {
        return resolve(AttentionBackend::flash_attn_2, DeviceKind::cuda, make_shape(8, 8, head_dim),
                       dtype);
    };
    for (const DType dtype : {DType::bfloat16, DType::float16}) {
        for (const std::int64_t head_dim : {32, 64, 96, 128, 256})
            EXPECT_EQ(resolve_on_gpu(head_dim, dtype).used, AttentionBackend::flash_attn_2);
        const auto resolution = resolve_on_gpu(80, dtype);
        EXPECT_EQ(resolution.used, AttentionBackend::manual);
        EXPECT_THAT(resolution.reason,
                    ::testing::HasSubstr(
                        "flash_attn_2 and sdpa: head_dim 80 is none of 32, 64, 96, 128, 256"));
    }
    const auto resolution = resolve_on_gpu(64, DType::float32);
    EXPECT_EQ(resolution.used, AttentionBackend::manual);
    EXPECT_THAT(resolution.reason, ::testing::HasSubstr("for bfloat16 and float16, not fp32"));
}

TEST(AttentionResolve, SumsOfSdpaMustFitIntoScratchMemory) {
    const auto resolution_of = [](std::int64_t length, std::int64_t heads) {
        return resolve(AttentionBackend::sdpa, DeviceKind::cuda,
                       make_shape(length, length, 256, true, heads, 1), DType::bfloat16);
    };
    EXPECT_EQ(resolution_of(65536, 1).used, AttentionBackend::sdpa);
    const auto resolution = resolution_of(65536, 2);
    EXPECT_EQ(resolution.used, AttentionBackend::manual);
    EXPECT_EQ(resolution.reason,
              "sdpa: d_q of the 2 heads of a key/value head takes 128 MiB in fp32, more than the "
              "scratch memory of 64");
}

TEST(AttentionResolve, SaysWhyNothingIsLeft) {
    try {
        (void)resolve(AttentionBackend::sdpa, DeviceKind::cuda, make_shape(8, 8, 64),
                      DType::float64);
        FAIL() << "GPUs have no kernels for double";
    } catch (const ConfigError& error) {
        EXPECT_STREQ(error.what(),
                     "no attention backend can run here: sdpa and manual: no CUDA kernel for fp64");
    }
    EXPECT_THROW((void)resolve(AttentionBackend::manual, DeviceKind::cpu, make_shape(8, 8, 64),
                               DType::bfloat16),
                 ConfigError);
    EXPECT_THROW((void)resolve(AttentionBackend::manual, DeviceKind::cpu,
                               make_shape(8, 8, 64, true, 3, 2), DType::float32),
                 ConfigError);
}

TEST(AttentionResolve, NamesAMisspeltBackendToDisable) {
    try {
        (void)resolve(AttentionBackend::manual, DeviceKind::cpu, make_shape(8, 8, 64),
                      DType::float32, "flash_atn_2");
        FAIL() << "accepted a misspelling";
    } catch (const ConfigError& error) {
        EXPECT_THAT(error.what(), ::testing::HasSubstr("did you mean 'flash_attn_2'?"));
    }
}

TEST(AttentionArguments, MissingOrMismatchedTensorsAreNamed) {
    Problem<float> problem(make_shape(8, 8, 16));
    device::ThreadPool pool(1);
    device::Context context(pool);
    const auto backend =
        attention::make_backend(AttentionBackend::flash_attn_2, device::host_device());
    attention::ForwardArguments arguments = problem.forward_arguments();
    arguments.lse = {};
    EXPECT_THROW(backend->forward(context, problem.shape, arguments), std::invalid_argument);
    arguments = problem.forward_arguments();
    arguments.v.dtype = DType::float64;
    EXPECT_THROW(backend->forward(context, problem.shape, arguments), std::invalid_argument);
    attention::BackwardArguments backward = problem.backward_arguments();
    backward.row_sums = {};
    EXPECT_THROW(backend->backward(context, problem.shape, backward), std::invalid_argument);
}

TEST(AttentionArguments, ManualNeedsNoLse) {
    Problem<float> problem(make_shape(8, 8, 16));
    device::ThreadPool pool(1);
    device::Context context(pool);
    attention::ForwardArguments arguments = problem.forward_arguments();
    arguments.lse = {};
    attention::make_backend(AttentionBackend::manual, device::host_device())
        ->forward(context, problem.shape, arguments);
    EXPECT_LE(relative_error(problem.o.values(), Reference(problem).o.values()), 1e-6);
}

}  // namespace
}  // namespace isoflop::test
