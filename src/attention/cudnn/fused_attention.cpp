#include "attention/cudnn/fused_attention.hpp"

#include <limits>
#include <stdexcept>

#include "isoflop/base/error.hpp"

namespace isoflop::attention::cudnn {
namespace {

DataType data_type(DType dtype) {
    return dtype == DType::bfloat16 ? DataType::bfloat16 : DataType::float16;
}

ForwardLayouts layouts_of(const ForwardArguments& arguments) {
    return {layout_of(arguments.q), layout_of(arguments.k), layout_of(arguments.v),
            layout_of(arguments.o)};
}
BackwardLayouts layouts_of(const BackwardArguments& arguments) {
    return {layout_of(arguments.q),   layout_of(arguments.k),   layout_of(arguments.v),
            layout_of(arguments.o),   layout_of(arguments.d_o), layout_of(arguments.d_q),
            layout_of(arguments.d_k), layout_of(arguments.d_v)};
}

/// Plans are for addresses that are multiples of 16 bytes.
void check_alignment(const std::map<std::int64_t, void*>& addresses) {
    for (const auto& [uid, address] : addresses) {
        const bool is_number = uid == kScale || uid == kMinusInfinity || uid == kOne;
        if (!is_number && reinterpret_cast<std::uintptr_t>(address) % 16 != 0)
            throw std::invalid_argument("sdpa on cuda: a tensor is not aligned to 16 bytes");
    }
}

}  // namespace

FusedAttention::FusedAttention(Functions functions, const Capability& device, CUstream_st* stream)
    : functions_(std::move(functions)), device_(device) {
    functions_.check(functions_.create(&handle_), "cudnnCreate");
    functions_.check(functions_.set_stream(handle_, stream), "cudnnSetStream");
}

FusedAttention::~FusedAttention() {
    forward_.clear();
    backward_.clear();
    functions_.destroy(handle_);
}

template <class Build>
void FusedAttention::make_plan(Entry& entry, const Build& build) {
    try {
        Graph graph(functions_);
        build(graph);
        entry.plan = std::make_unique<Plan>(Target(functions_, handle_), graph);
    } catch (const Error& error) {
        entry.support = {.supported = false, .reason = error.what()};
    }
}

FusedAttention::Entry& FusedAttention::entry(const Shape& shape,
                                             const ForwardArguments& arguments) {
    const Key key{shape.batch,    shape.query_length, shape.key_length, shape.heads,
                  shape.kv_heads, shape.head_dim,     shape.causal,     arguments.q.dtype};
    const ForwardLayouts layouts = layouts_of(arguments);
    const auto [found, is_new] = forward_.try_emplace(ForwardKey{key, layouts});
    Entry& entry = found->second;
    if (!is_new) return entry;
    entry.support = supports_forward(device_, shape, arguments.q.dtype);
    if (entry.support.supported) {
        make_plan(entry, [&](Graph& graph) {
            build_forward(graph, shape, data_type(arguments.q.dtype), layouts);
        });
    }
    return entry;
}

FusedAttention::Entry& FusedAttention::entry(const Shape& shape,
                                             const BackwardArguments& arguments) {
    const Key key{shape.batch,    shape.query_length, shape.key_length, shape.heads,
                  shape.kv_heads, shape.head_dim,     shape.causal,     arguments.q.dtype};
    const BackwardLayouts layouts = layouts_of(arguments);
    const bool deterministic = arguments.d_q_sums.empty();
    const auto [found, is_new] = backward_.try_emplace(BackwardKey{key, layouts, deterministic});
    Entry& entry = found->second;
    if (!is_new) return entry;
    entry.support = supports_backward(device_, shape, arguments.q.dtype, deterministic);
    if (entry.support.supported) {
        make_plan(entry, [&](Graph& graph) {
            build_backward(graph, shape, data_type(arguments.q.dtype), layouts, deterministic);
        });
    }
    return entry;
}

Support FusedAttention::prepare(const Shape& shape, const ForwardArguments& arguments) {
    return entry(shape, arguments).support;
}
Support FusedAttention::prepare(const Shape& shape, const BackwardArguments& arguments) {
    return entry(shape, arguments).support;
}

std::uint64_t FusedAttention::workspace_bytes(const Shape& shape,
                                              const ForwardArguments& arguments) {
    return entry(shape, arguments).plan->workspace_bytes();
}
std::uint64_t FusedAttention::workspace_bytes(const Shape& shape,
                                              const BackwardArguments& arguments) {
    return entry(shape, arguments).plan->workspace_bytes();
}

void FusedAttention::run(const Shape& shape, const ForwardArguments& arguments,
                         const Workspace& workspace) {
    const Plan& plan = *entry(shape, arguments).plan;
    auto scale = static_cast<float>(shape.scale);
    float minus_infinity = -std::numeric_limits<float>::infinity();
    std::map<std::int64_t, void*> addresses = {{kQ, arguments.q.data},       {kK, arguments.k.data},
                                               {kV, arguments.v.data},       {kO, arguments.o.data},
                                               {kLse, arguments.lse.data()}, {kScale, &scale}};
    if (shape.causal) addresses[kMinusInfinity] = &minus_infinity;
    check_alignment(addresses);
    plan.run(handle_, addresses, workspace(plan.workspace_bytes()));
}

void FusedAttention::run(const Shape& shape, const BackwardArguments& arguments,
                         const Workspace& workspace) {
    const Plan& plan = *entry(shape, arguments).plan;
    auto scale = static_cast<float>(shape.scale);
    float minus_infinity = -std::numeric_limits<float>::infinity();
    float one = 1;
    std::map<std::int64_t, void*> addresses = {{kQ, arguments.q.data},
                                               {kK, arguments.k.data},
                                               {kV, arguments.v.data},
                                               {kO, arguments.o.data},
                                               {kDO, arguments.d_o.data},
                                               {kLse, arguments.lse.data()},
                                               {kRowSums, arguments.row_sums.data()},
                                               {kDQ, arguments.d_q.data},
                                               {kDK, arguments.d_k.data},
                                               {kDV, arguments.d_v.data},
                                               {kScale, &scale},
                                               {kOne, &one}};
    if (shape.causal) addresses[kMinusInfinity] = &minus_infinity;
    if (!arguments.d_q_sums.empty()) addresses[kDQSums] = arguments.d_q_sums.data();
    check_alignment(addresses);
    plan.run(handle_, addresses, workspace(plan.workspace_bytes()));
}

}  // namespace isoflop::attention::cudnn
