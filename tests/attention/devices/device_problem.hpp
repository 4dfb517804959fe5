// An attention problem in the memory of a device: rows of all tensors have gaps between them; the
// gaps, what lies around the tensors, and results until they are written are NaN.
#pragma once

#include "attention/attention_problem.hpp"
#include "support/device_op.hpp"

namespace isoflop::test {

/// Rounds the inputs to the type, as a device holds them.
inline void round_inputs(Problem<double>& problem, DType dtype) {
    for (Tensor<double>* tensor : {&problem.q, &problem.k, &problem.v, &problem.d_o}) {
        std::vector<std::byte> stored(tensor->data.size() * size_in_bytes(dtype));
        store_rounded(dtype, tensor->data, stored.data());
        const std::byte* from = stored.data();
        for (double& value : tensor->data) {
            value = load_stored(dtype, from);
            from += size_in_bytes(dtype);
        }
    }
}

/// A tensor with the layout of another one.
class DeviceHeads {
public:
    enum class Content { values, nothing };
    DeviceHeads(device::Device& device, DType dtype, const Tensor<double>& like, Content content)
        : layout_(like),
          memory_(device, dtype, {std::ssize(like.data)}, content_of(like, content)),
          initial_(bytes_of(memory_)) {}

    [[nodiscard]] Heads view() const {
        return layout_.view_of(memory_.view().data(), memory_.view().dtype());
    }
    [[nodiscard]] const DeviceTensor& memory() const { return memory_; }
    /// The elements, without the gaps, which must be as they were.
    void fetch(Tensor<double>& to) const {
        const std::vector<double> values = memory_.values();
        const std::vector<std::byte> bytes = bytes_of(memory_);
        const std::size_t size = size_in_bytes(memory_.view().dtype());
        bool untouched = true;
        for (std::size_t i = 0; i < values.size(); ++i) {
            if (layout_.is_gap(i)) {
                untouched = untouched && std::memcmp(bytes.data() + i * size,
                                                     initial_.data() + i * size, size) == 0;
            } else {
                to.data[i] = values[i];
            }
        }
        EXPECT_TRUE(untouched) << "a kernel has written between the rows of a tensor";
    }

private:
    static std::vector<double> content_of(const Tensor<double>& tensor, Content content) {
        if (content == Content::nothing) return {};
        std::vector<double> values = tensor.data;
        for (std::size_t i = 0; i < values.size(); ++i) {
            if (tensor.is_gap(i)) values[i] = std::numeric_limits<double>::quiet_NaN();
        }
        return values;
    }

    Tensor<double> layout_;
    DeviceTensor memory_;
    std::vector<std::byte> initial_;
};

/// A problem whose inputs are rounded to the type, and all that any backend needs on the device.
class DeviceProblem : public ProblemTensors<DeviceHeads> {
public:
    DeviceProblem(device::Device& device, DType dtype, Problem<double>& problem)
        : ProblemTensors{{device, dtype, problem.q, Content::values},
                         {device, dtype, problem.k, Content::values},
                         {device, dtype, problem.v, Content::values},
                         {device, dtype, problem.o, Content::nothing},
                         {device, dtype, problem.d_o, Content::values},
                         {device, dtype, problem.d_q, Content::nothing},
                         {device, dtype, problem.d_k, Content::nothing},
                         {device, dtype, problem.d_v, Content::nothing}},
          shape(problem.shape),
          lse(device, DType::float32, {shape.batch, shape.heads, shape.query_length}),
          row_sums(device, DType::float32, {shape.batch, shape.heads, shape.query_length}),
          d_q_sums(device, DType::float32,
                   {shape.batch, shape.heads, shape.query_length, shape.head_dim}),
          probabilities(device, dtype,
                        {shape.batch, shape.heads, shape.query_length, shape.key_length}),
          d_scores(device, dtype,
                   {shape.batch, shape.heads, shape.query_length, shape.key_length}) {
        round_inputs(problem, dtype);
    }

    [[nodiscard]] attention::ForwardArguments forward_arguments(AttentionBackend backend) {
        const bool is_manual = backend == AttentionBackend::manual;
        return ProblemTensors::forward_arguments(lse.view(),
                                                 is_manual ? probabilities.view() : TensorView());
    }
    [[nodiscard]] attention::BackwardArguments backward_arguments(AttentionBackend backend,
                                                                  bool with_atomics) {
        auto arguments = ProblemTensors::backward_arguments(lse.view(), row_sums.view());
        if (with_atomics) arguments.d_q_sums = d_q_sums.view();
        if (backend != AttentionBackend::manual) return arguments;
        arguments.o = {};
        arguments.lse = {};
        arguments.row_sums = {};
        arguments.probabilities = probabilities.view();
        arguments.d_scores = d_scores.view();
        return arguments;
    }
    /// Returns which implementation ran, as the backend describes it.
    std::string run(Context& context, AttentionBackend kind, bool with_atomics = false) {
        const auto backend = attention::make_backend(kind, context.device);
        backend->forward(context, shape, forward_arguments(kind));
        backend->backward(context, shape, backward_arguments(kind, with_atomics));
        return backend->description();
    }
    /// Brings the results to the problem.
    void fetch(Problem<double>& problem) const {
        o.fetch(problem.o);
        d_q.fetch(problem.d_q);
        d_k.fetch(problem.d_k);
        d_v.fetch(problem.d_v);
        problem.lse = lse.values();
    }
    [[nodiscard]] std::vector<std::byte> result_bytes() const {
        return bytes_of(o.memory(), lse, d_q.memory(), d_k.memory(), d_v.memory());
    }

    Shape shape;
    DeviceTensor lse, row_sums, d_q_sums, probabilities, d_scores;

private:
    using Content = DeviceHeads::Content;
};

}  // namespace isoflop::test
