#include "attention/arguments.hpp"

#include <cmath>
#include <new>
#include <stdexcept>
#include <string>

#include "isoflop/device/device.hpp"

namespace isoflop::attention {
namespace {

void require(bool condition, const std::string& message) {
    if (!condition) throw std::invalid_argument("attention: " + message);
}

void check_shape(cost::AttentionBackend backend, const Shape& shape, DType dtype,
                 cost::DeviceKind device) {
    require(shape.batch >= 0 && shape.query_length >= 0 && shape.key_length >= 0,
            "negative length");
    require(shape.heads >= 1 && shape.kv_heads >= 1, "no heads");
    require(shape.window >= 0, "negative window");
    require(shape.window == 0 || shape.causal, "a window of keys without causality");
    require(shape.soft_cap >= 0 && std::isfinite(shape.soft_cap), "the soft cap is no bound");
    const Support support = supports(backend, device, shape, dtype);
    require(support.supported, support.reason);
}

void check_heads(const Heads& heads, DType dtype, std::int64_t elements, const std::string& name) {
    require(heads.dtype == dtype, name + " has another element type than q");
    require(heads.data != nullptr || elements == 0, name + " is missing");
}

void check_tensor(const TensorView& tensor, DType dtype, std::int64_t elements,
                  const std::string& name) {
    require(elements == 0 || !tensor.empty(), name + " is missing");
    if (tensor.empty()) return;
    require(tensor.dtype() == dtype, name + " is not " + std::string(short_name(dtype)));
    require(tensor.size() == elements, name + " has the wrong size");
}

/// Of lse and row_sums.
DType statistics_type(DType dtype) {
    return size_in_bytes(dtype) == 2 ? DType::float32 : dtype;
}

std::int64_t query_rows(const Shape& shape) {
    return shape.batch * shape.heads * shape.query_length;
}
std::int64_t key_rows(const Shape& shape) {
    return shape.batch * shape.kv_heads * shape.key_length;
}

/// Multiply-adds of all heads, by product and pass.
cost::CorePairs core_products(const Context& context, cost::AttentionBackend backend,
                              const Shape& shape, bool deterministic) {
    cost::Execution execution;
    execution.attention_backend = backend;
    execution.device = context.device.kind();
    execution.deterministic = deterministic;
    cost::CorePairs products = cost::core_pairs(execution, shape.head_dim, shape.query_length,
                                                shape.key_length, shape.causal, shape.window);
    const auto factor = static_cast<std::uint64_t>(shape.head_dim) *
                        static_cast<std::uint64_t>(shape.batch * shape.heads);
    for (std::uint64_t* each : {&products.forward_scores, &products.forward_values,
                                &products.backward_scores, &products.backward_values})
        *each *= factor;
    return products;
}

constexpr std::string_view kScores = "attention.scores";
constexpr std::string_view kValues = "attention.values";

}  // namespace

void check_forward(cost::AttentionBackend backend, const Shape& shape,
                   const ForwardArguments& arguments, cost::DeviceKind device) {
    const bool manual = backend == cost::AttentionBackend::manual;
    const DType dtype = arguments.q.dtype;
    check_shape(backend, shape, dtype, device);
    check_heads(arguments.q, dtype, query_rows(shape), "q");
    check_heads(arguments.k, dtype, key_rows(shape), "k");
    check_heads(arguments.v, dtype, key_rows(shape), "v");
    check_heads(arguments.o, dtype, query_rows(shape), "o");
    if (!manual || !arguments.lse.empty())
        check_tensor(arguments.lse, statistics_type(dtype), query_rows(shape), "lse");
    if (manual) {
        check_tensor(arguments.probabilities, dtype, query_rows(shape) * shape.key_length,
                     "probabilities");
    }
}

void check_backward(cost::AttentionBackend backend, const Shape& shape,
                    const BackwardArguments& arguments, cost::DeviceKind device) {
    const DType dtype = arguments.q.dtype;
    check_shape(backend, shape, dtype, device);
    check_heads(arguments.q, dtype, query_rows(shape), "q");
    check_heads(arguments.k, dtype, key_rows(shape), "k");
    check_heads(arguments.v, dtype, key_rows(shape), "v");
    check_heads(arguments.d_o, dtype, query_rows(shape), "d_o");
    check_heads(arguments.d_q, dtype, query_rows(shape), "d_q");
    check_heads(arguments.d_k, dtype, key_rows(shape), "d_k");
    check_heads(arguments.d_v, dtype, key_rows(shape), "d_v");
    if (backend == cost::AttentionBackend::manual) {
        const std::int64_t pairs = query_rows(shape) * shape.key_length;
        check_tensor(arguments.probabilities, dtype, pairs, "probabilities");
        check_tensor(arguments.d_scores, dtype, pairs, "d_scores");
    } else {
        check_heads(arguments.o, dtype, query_rows(shape), "o");
        check_tensor(arguments.lse, statistics_type(dtype), query_rows(shape), "lse");
        check_tensor(arguments.row_sums, statistics_type(dtype), query_rows(shape), "row_sums");
    }
}

void record_counted(const Context& context, cost::Pass pass, const ProductCount& issued) {
    context.record(kScores, pass, issued.scores);
    context.record(kValues, pass, issued.values);
}

void record_planned_forward(const Context& context, cost::AttentionBackend backend,
                            const Shape& shape, cost::Pass pass) {
    constexpr auto kPlanned = device::ProductRecorder::Source::planned;
    const cost::CorePairs products = core_products(context, backend, shape, true);
    context.record(kScores, pass, products.forward_scores, kPlanned);
    context.record(kValues, pass, products.forward_values, kPlanned);
}

void record_planned_backward(const Context& context, cost::AttentionBackend backend,
                             const Shape& shape, bool deterministic) {
    constexpr auto kPlanned = device::ProductRecorder::Source::planned;
    const cost::CorePairs products = core_products(context, backend, shape, deterministic);
    context.record(kScores, cost::Pass::backward, products.backward_scores, kPlanned);
    context.record(kValues, cost::Pass::backward, products.backward_values, kPlanned);
}

std::byte* Scratch::thread_memory(std::size_t bytes) {
    struct Free {
        void operator()(std::byte* memory) const {
            ::operator delete (memory, std::align_val_t{static_cast<std::size_t>(kAlignment)});
        }
    };
    thread_local std::unique_ptr<std::byte, Free> memory;
    thread_local std::size_t size = 0;
    if (size < bytes) {
        memory.reset();
        size = 0;
        memory.reset(static_cast<std::byte*>(
            ::operator new (bytes, std::align_val_t{static_cast<std::size_t>(kAlignment)})));
        size = bytes;
    }
    return memory.get();
}

}  // namespace isoflop::attention
