// Checks the declarations of NCCL and the CUDA runtime against their headers at compile time.
#ifdef ISOFLOP_HAVE_NCCL_HEADERS

#include <cuda_runtime_api.h>
#include <nccl.h>

#include <type_traits>

#include "comm/nccl_functions.hpp"

namespace isoflop::comm {
namespace {

/// True when a value of type Ours is passed exactly as one of type Theirs.
template <class Ours, class Theirs>
constexpr bool same_value() {
    if constexpr (std::is_same_v<Ours, Theirs>)
        return true;
    else if constexpr (std::is_pointer_v<Ours> && std::is_pointer_v<Theirs>)
        return same_value<std::remove_pointer_t<Ours>, std::remove_pointer_t<Theirs>>();
    else if constexpr (std::is_enum_v<Theirs>)
        return std::is_same_v<Ours, int> && sizeof(Theirs) == sizeof(int) &&
               alignof(Theirs) == alignof(int);
    else
        return std::is_same_v<Ours, NcclUniqueId> && std::is_same_v<Theirs, ncclUniqueId>;
}

template <class Ours, class Theirs>
struct Same : std::false_type {};
template <class Ours, class... OurParameters, class Theirs, class... TheirParameters>
requires(sizeof...(OurParameters) ==
         sizeof...(TheirParameters)) struct Same<std::function<Ours(OurParameters...)>,
                                                 Theirs(TheirParameters...)>
    : std::bool_constant<same_value<Ours, Theirs>() &&
                         (same_value<OurParameters, TheirParameters>() && ...)> {
};

using Nccl = NcclFunctions;
static_assert(Same<decltype(Nccl::get_version), decltype(ncclGetVersion)>());
static_assert(Same<decltype(Nccl::get_error_string), decltype(ncclGetErrorString)>());
static_assert(Same<decltype(Nccl::get_unique_id), decltype(ncclGetUniqueId)>());
static_assert(Same<decltype(Nccl::comm_init_rank), decltype(ncclCommInitRank)>());
static_assert(Same<decltype(Nccl::comm_destroy), decltype(ncclCommDestroy)>());
static_assert(Same<decltype(Nccl::comm_abort), decltype(ncclCommAbort)>());
static_assert(Same<decltype(Nccl::comm_get_async_error), decltype(ncclCommGetAsyncError)>());
static_assert(Same<decltype(Nccl::all_reduce), decltype(ncclAllReduce)>());
static_assert(Same<decltype(Nccl::reduce_scatter), decltype(ncclReduceScatter)>());
static_assert(Same<decltype(Nccl::all_gather), decltype(ncclAllGather)>());
static_assert(!Same<decltype(Nccl::all_gather), decltype(ncclAllReduce)>());  // the check can fail

static_assert(sizeof(NcclUniqueId) == sizeof(ncclUniqueId));
static_assert(alignof(NcclUniqueId) == alignof(ncclUniqueId));
static_assert(std::is_trivially_copyable_v<NcclUniqueId>);
static_assert(std::is_standard_layout_v<NcclUniqueId>);

static_assert(kNcclSuccess == ncclSuccess && kNcclRemoteError == ncclRemoteError &&
              kNcclInProgress == ncclInProgress && kNcclSum == ncclSum);
static_assert(kNcclInt8 == ncclInt8 && kNcclFloat16 == ncclFloat16 && kNcclFloat32 == ncclFloat32 &&
              kNcclFloat64 == ncclFloat64 && kNcclBfloat16 == ncclBfloat16);

using Cuda = CudaRuntimeFunctions;
static_assert(Same<decltype(Cuda::get_error_string), decltype(cudaGetErrorString)>());
static_assert(Same<decltype(Cuda::set_device), decltype(cudaSetDevice)>());
static_assert(
    Same<decltype(Cuda::stream_create_with_flags), decltype(cudaStreamCreateWithFlags)>());
static_assert(Same<decltype(Cuda::stream_destroy), decltype(cudaStreamDestroy)>());
static_assert(Same<decltype(Cuda::stream_wait_event), decltype(cudaStreamWaitEvent)>());
static_assert(Same<decltype(Cuda::event_create_with_flags), decltype(cudaEventCreateWithFlags)>());
static_assert(Same<decltype(Cuda::event_destroy), decltype(cudaEventDestroy)>());
static_assert(Same<decltype(Cuda::event_record), decltype(cudaEventRecord)>());
static_assert(Same<decltype(Cuda::event_query), decltype(cudaEventQuery)>());

static_assert(kCudaSuccess == cudaSuccess && kCudaErrorNotReady == cudaErrorNotReady);
static_assert(kCudaStreamNonBlocking == cudaStreamNonBlocking);
static_assert(kCudaEventDisableTiming == cudaEventDisableTiming);

}  // namespace
}  // namespace isoflop::comm

#endif
