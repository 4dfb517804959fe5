#include "attention/cudnn/fused_attention.hpp"

#include <fmt/format.h>

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

std::string text_of(const Layout& layout) {
    return fmt::format(" {}/{}/{}", layout.batch_stride, layout.token_stride, layout.head_stride);
}

/// All that a plan depends on, but for the library and the device.
std::string text_of(std::string_view pass, const Shape& shape, DType dtype,
                    std::initializer_list<Layout> layouts) {
    std::string text =
        fmt::format("{} {} {}x{}x{} heads {}/{}x{} {}", pass, short_name(dtype), shape.batch,
                    shape.query_length, shape.key_length, shape.heads, shape.kv_heads,
                    shape.head_dim, shape.causal ? "causal" : "full");
    for (const Layout& layout : layouts) text += text_of(layout);
    return text;
}
std::string text_of(const Shape& shape, DType dtype, const ForwardLayouts& l) {
    return text_of("forward", shape, dtype, {l.q, l.k, l.v, l.o});
}
std::string text_of(const Shape& shape, DType dtype, const BackwardLayouts& l, bool deterministic) {
    return text_of(deterministic ? "deterministic backward" : "backward", shape, dtype,
                   {l.q, l.k, l.v, l.o, l.d_o, l.d_q, l.d_k, l.d_v});
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

FusedAttention::FusedAttention(Functions functions, const Capability& device, CUstream_st* stream,
                               PlanCache cache)
    : functions_(std::move(functions)), device_(device), cache_(std::move(cache)) {
    functions_.check(functions_.create(&handle_), "cudnnCreate");
    functions_.check(functions_.set_stream(handle_, stream), "cudnnSetStream");
}

FusedAttention::~FusedAttention() {
    forward_.clear();
    backward_.clear();
    functions_.destroy(handle_);
}

template <class Build>
void FusedAttention::make_plan(Entry& entry, const std::string& key, const Build& build) {
    const Target target(functions_, handle_);
    if (const auto json = cache_.find(key)) {
        try {
            entry.plan = std::make_unique<Plan>(target, *json);
            return;
        } catch (const Error&) {
            // Of another driver, or worse: compiled again, and replaced.
        }
    }
    try {
        Graph graph(functions_);
        build(graph);
        entry.plan = std::make_unique<Plan>(target, graph);
        if (cache_.enabled()) cache_.put(key, entry.plan->json());
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
    entry.support = supports_forward(device_, functions_.get_version(), shape, arguments.q.dtype);
    if (entry.support.supported) {
        make_plan(entry, text_of(shape, arguments.q.dtype, layouts), [&](Graph& graph) {
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
    entry.support = supports_backward(device_, functions_.get_version(), shape, arguments.q.dtype,
                                      deterministic);
    if (entry.support.supported) {
        make_plan(
            entry, text_of(shape, arguments.q.dtype, layouts, deterministic), [&](Graph& graph) {
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

void FusedAttention::run(const Shape& shape, const ForwardArguments& arguments, void* workspace) {
    const Plan& plan = *entry(shape, arguments).plan;
    auto scale = static_cast<float>(shape.scale);
    float minus_infinity = -std::numeric_limits<float>::infinity();
    std::map<std::int64_t, void*> addresses = {{kQ, arguments.q.data},       {kK, arguments.k.data},
                                               {kV, arguments.v.data},       {kO, arguments.o.data},
                                               {kLse, arguments.lse.data()}, {kScale, &scale}};
    if (shape.causal) addresses[kMinusInfinity] = &minus_infinity;
    check_alignment(addresses);
    plan.run(handle_, addresses, workspace);
}

void FusedAttention::run(const Shape& shape, const BackwardArguments& arguments, void* workspace) {
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
    plan.run(handle_, addresses, workspace);
}

}  // namespace isoflop::attention::cudnn
