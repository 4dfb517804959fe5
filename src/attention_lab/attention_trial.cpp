#include "isoflop/attention_lab/attention_trial.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <functional>
#include <map>

#include "attention_reference.hpp"
#include "isoflop/base/error.hpp"
#include "isoflop/base/half_precision.hpp"
#include "isoflop/base/philox.hpp"
#include "isoflop/base/text.hpp"
#include "isoflop/cost/attention_buffers.hpp"
#include "isoflop/device/device.hpp"

namespace isoflop::attention_lab {
namespace {

using attention::Heads;
using attention::Shape;
using device::TensorView;

constexpr std::int64_t kChunk = 1 << 14;  ///< elements that one thread converts
/// Smallest duration of a timed sample; short launches are repeated, as clocks and launches have a
/// granularity.
constexpr double kSampleSeconds = 2e-3;
constexpr double kMostLaunches = 64;

float load(const std::byte* data, DType dtype, std::int64_t index) {
    if (dtype == DType::float32) return reinterpret_cast<const float*>(data)[index];
    const std::uint16_t bits = reinterpret_cast<const std::uint16_t*>(data)[index];
    return dtype == DType::bfloat16 ? bfloat16_to_float(bits) : float16_to_float(bits);
}

void store(std::byte* data, DType dtype, std::int64_t index, float value) {
    if (dtype == DType::float32) {
        reinterpret_cast<float*>(data)[index] = value;
    } else {
        reinterpret_cast<std::uint16_t*>(data)[index] =
            dtype == DType::bfloat16 ? float_to_bfloat16(value) : float_to_float16(value);
    }
}

/// Memory of the context's device.
class Storage {
public:
    Storage(device::Context& context, std::uint64_t bytes)
        : device_(&context.device), memory_(context.device, bytes) {}
    [[nodiscard]] std::byte* data() { return memory_.data(); }
    [[nodiscard]] std::uint64_t bytes() const { return memory_.size(); }
    void put(const std::vector<std::byte>& values) {
        device_->copy_in(data(), values.data(), values.size());
    }
    /// Elements [first, first + count).
    [[nodiscard]] std::vector<float> fetch(DType dtype, std::int64_t first, std::int64_t count) {
        const std::uint64_t size = size_in_bytes(dtype);
        std::vector<std::byte> bytes(static_cast<std::uint64_t>(count) * size);
        const std::byte* const from = data() + static_cast<std::uint64_t>(first) * size;
        device_->copy_out(bytes.data(), from, bytes.size());
        std::vector<float> values(static_cast<std::size_t>(count));
        for (std::int64_t i = 0; i < count; ++i)
            values[static_cast<std::size_t>(i)] = load(bytes.data(), dtype, i);
        return values;
    }

private:
    device::Device* device_;
    device::DeviceBuffer memory_;
};

/// Uniform with zero mean and unit variance, rounded to the type: enough to exercise the softmax.
std::vector<std::byte> random_values(device::ThreadPool& pool, DType dtype, std::int64_t count,
                                     std::uint32_t stream) {
    std::vector<std::byte> values(static_cast<std::uint64_t>(count) * size_in_bytes(dtype));
    pool.parallel_ranges((count + 3) / 4, kChunk, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t i = begin; i < end; ++i) {
            const PhiloxCounter words = philox(
                {static_cast<std::uint32_t>(i), static_cast<std::uint32_t>(i >> 32), stream, 0},
                {7, 11});
            for (std::int64_t j = 0; j < 4 && 4 * i + j < count; ++j) {
                const double unit = to_unit_interval(words[static_cast<std::size_t>(j)]);
                store(values.data(), dtype, 4 * i + j,
                      static_cast<float>((unit - 0.5) * 3.4641016));
            }
        }
    });
    return values;
}

std::uint64_t available_bytes(const device::Context& context) {
    return context.device.memory_use().usable_bytes;
}

/// One shape's tensors and their reference, and the backends run on them in turn.
class Bench {
public:
    Bench(device::Context& context, const Shape& shape, const TrialOptions& options)
        : context_(context),
          shape_(shape),
          options_(options),
          dtype_(options.dtype == DType::tf32 ? DType::float32 : options.dtype),
          query_width_(shape.heads * shape.head_dim),
          key_width_(shape.kv_heads * shape.head_dim),
          queries_(shape.batch * shape.query_length * query_width_),
          keys_(shape.batch * shape.key_length * key_width_),
          part_(reference_part(shape, options.reference_products)) {
        require_memory();
        const auto tensor = [&](std::int64_t elements) {
            return Storage(context, static_cast<std::uint64_t>(elements) * size_in_bytes(dtype_));
        };
        for (Storage* each : {&q_, &o_, &d_o_, &d_q_}) *each = tensor(queries_);
        for (Storage* each : {&k_, &v_, &d_k_, &d_v_}) *each = tensor(keys_);
        const auto q = random_values(context.pool, dtype_, queries_, 0);
        const auto k = random_values(context.pool, dtype_, keys_, 1);
        const auto v = random_values(context.pool, dtype_, keys_, 2);
        gradient_ = random_values(context.pool, dtype_, queries_, 3);
        q_.put(q);
        k_.put(k);
        v_.put(v);
        if (part_.empty()) return;
        const std::int64_t part_keys = part_.batch * shape.key_length * key_width_;
        reference_.emplace(context.pool, shape, part_,
                           AttentionInputs{.q = part_rows(q_),
                                           .k = k_.fetch(dtype_, 0, part_keys),
                                           .v = v_.fetch(dtype_, 0, part_keys),
                                           .d_o = (d_o_.put(gradient_), part_rows(d_o_))});
    }

    [[nodiscard]] AttentionTrial run(cost::AttentionBackend kind) {
        AttentionTrial trial{.backend = kind};
        trial.tolerance = attention_tolerance(kind, options_.dtype, context_.device.info());
        const attention::Support support =
            attention::supports(kind, context_.device.kind(), shape_, dtype_);
        trial.reason = support.reason;
        if (!support.supported || !fits(trial)) return trial;
        try {
            const auto backend = attention::make_backend(kind, context_.device);
            run(*backend, trial);
            trial.ran = true;
        } catch (const std::exception& error) {
            const auto* const known = dynamic_cast<const Error*>(&error);
            trial.reason = error.what();
            trial.failed = known == nullptr || known->exit_code() != ExitCode::out_of_memory;
        }
        return trial;
    }

    [[nodiscard]] std::string part_text() const {
        return part_.empty() ? std::string() : describe(part_, shape_);
    }

private:
    /// Memory that only one backend needs.
    struct Extra {
        TensorView lse, probabilities, row_sums, d_q_sums, d_scores;
        std::span<std::byte> workspace;
    };

    void require_memory() const {
        const std::uint64_t needed =
            4 * static_cast<std::uint64_t>(queries_ + keys_) * size_in_bytes(dtype_);
        if (needed <= available_bytes(context_)) return;
        throw Error(
            ExitCode::out_of_memory,
            fmt::format("attention on {} sequences of {} tokens needs {} for its inputs, outputs "
                        "and gradients, and {} are free",
                        shape_.batch, shape_.query_length, human_bytes(static_cast<double>(needed)),
                        human_bytes(static_cast<double>(available_bytes(context_)))));
    }

    /// As a run plans them.
    [[nodiscard]] std::vector<cost::Buffer> planned_buffers(cost::AttentionBackend kind) const {
        cost::Execution execution;
        execution.dtype = dtype_;
        execution.attention_backend = kind;
        execution.device = context_.device.kind();
        execution.deterministic = options_.deterministic;
        return cost::attention_buffers(shape_.size(), execution);
    }

    /// Provides the memory of the backend; false, with the reason, when it is not available.
    [[nodiscard]] bool fits(AttentionTrial& trial) const {
        for (const cost::Buffer& buffer : planned_buffers(trial.backend)) {
            const bool is_saved = buffer.lifetime == cost::Lifetime::step;
            (is_saved ? trial.saved_bytes : trial.scratch_bytes) += buffer.bytes();
        }
        if (trial.bytes() <= available_bytes(context_)) return true;
        trial.reason = fmt::format("needs {}, and {} are free",
                                   human_bytes(static_cast<double>(trial.bytes())),
                                   human_bytes(static_cast<double>(available_bytes(context_))));
        return false;
    }

    /// The planned buffers, allocated. manual gets an lse that it need not save, to be compared.
    [[nodiscard]] std::map<cost::BufferId, Storage> allocate(cost::AttentionBackend kind) const {
        std::map<cost::BufferId, Storage> storages;
        for (const cost::Buffer& buffer : planned_buffers(kind))
            storages.emplace(buffer.id, Storage(context_, buffer.bytes()));
        const auto rows =
            static_cast<std::uint64_t>(shape_.batch * shape_.heads * shape_.query_length);
        storages.try_emplace(cost::BufferId::attention_lse, context_, rows * sizeof(float));
        return storages;
    }

    [[nodiscard]] Extra extra_of(std::map<cost::BufferId, Storage>& storages) const {
        const auto data = [&](cost::BufferId id) {
            const auto found = storages.find(id);
            return found == storages.end() ? nullptr : found->second.data();
        };
        Extra extra;
        extra.lse = statistics(data(cost::BufferId::attention_lse));
        if (std::byte* const saved = data(cost::BufferId::attention_probabilities))
            extra.probabilities = scores(saved);
        if (std::byte* const scratch = data(cost::BufferId::grad_attention_scores))
            extra.d_scores = scores(scratch);
        if (std::byte* const sums = data(cost::BufferId::grad_attention_row_sums))
            extra.row_sums = statistics(sums);
        if (std::byte* const sums = data(cost::BufferId::grad_attention_q_accumulator)) {
            extra.d_q_sums = {sums,
                              DType::float32,
                              {shape_.batch, shape_.heads, shape_.query_length, shape_.head_dim}};
        }
        if (std::byte* const workspace = data(cost::BufferId::grad_attention_workspace)) {
            extra.workspace = {workspace,
                               storages.at(cost::BufferId::grad_attention_workspace).bytes()};
        }
        return extra;
    }

    void run(const attention::Backend& backend, AttentionTrial& trial) {
        auto storages = allocate(backend.kind());
        const Extra extra = extra_of(storages);
        const auto forward = [&] { backend.forward(context_, shape_, forward_arguments(extra)); };
        const auto backward = [&] {
            backend.backward(context_, shape_, backward_arguments(extra));
        };
        d_o_.put(reference_ ? gradient_of_part() : gradient_);
        forward();
        backward();
        synchronize();
        if (reference_) trial.errors = errors_of(storages.at(cost::BufferId::attention_lse));
        d_o_.put(gradient_);
        trial.run_by = backend.description();
        trial.forward_seconds = median_seconds(forward);
        trial.backward_seconds = median_seconds(backward);
    }

    void synchronize() const { context_.device.synchronize(); }

    [[nodiscard]] double seconds_of(int launches, const std::function<void()>& launch) const {
        synchronize();
        const auto start = std::chrono::steady_clock::now();
        for (int i = 0; i < launches; ++i) launch();
        synchronize();
        return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() /
               launches;
    }

    [[nodiscard]] double median_seconds(const std::function<void()>& launch) const {
        std::vector<double> samples{seconds_of(1, launch)};
        const double first = std::max(samples.front(), 1e-9);
        const auto launches =
            static_cast<int>(std::clamp(kSampleSeconds / first, 1.0, kMostLaunches));
        double spent = first;
        if (launches > 1 && options_.repeats > 1) samples.clear();
        while (static_cast<int>(samples.size()) < options_.repeats &&
               (samples.empty() || spent < options_.seconds)) {
            samples.push_back(seconds_of(launches, launch));
            spent += samples.back() * launches;
        }
        const auto middle = samples.begin() + std::ssize(samples) / 2;
        std::nth_element(samples.begin(), middle, samples.end());
        return *middle;
    }

    /// Elements of the part's queries, all heads, one sequence after another.
    [[nodiscard]] std::vector<float> part_rows(Storage& tensor) const {
        std::vector<float> rows;
        for (std::int64_t sequence = 0; sequence < part_.batch; ++sequence) {
            const std::int64_t first = (sequence + 1) * shape_.query_length - part_.queries;
            const std::vector<float> some =
                tensor.fetch(dtype_, first * query_width_, part_.queries * query_width_);
            rows.insert(rows.end(), some.begin(), some.end());
        }
        return rows;
    }

    /// Zero for the other queries, so that keys and values get the part's gradients alone.
    [[nodiscard]] std::vector<std::byte> gradient_of_part() const {
        std::vector<std::byte> values = gradient_;
        const std::int64_t row_bytes =
            query_width_ * static_cast<std::int64_t>(size_in_bytes(dtype_));
        for (std::int64_t sequence = 0; sequence < shape_.batch; ++sequence) {
            const auto begin = values.begin() + sequence * shape_.query_length * row_bytes;
            std::fill(begin, begin + (shape_.query_length - part_.queries) * row_bytes,
                      std::byte{0});
        }
        return values;
    }

    [[nodiscard]] AttentionErrors errors_of(Storage& lse) {
        const std::int64_t part_keys = part_.batch * shape_.key_length * key_width_;
        const AttentionResults results{
            .o = part_rows(o_),
            .lse = lse.fetch(DType::float32, 0, part_.batch * shape_.heads * shape_.query_length),
            .d_q = part_rows(d_q_),
            .d_k = d_k_.fetch(dtype_, 0, part_keys),
            .d_v = d_v_.fetch(dtype_, 0, part_keys)};
        return reference_->errors(results);
    }

    [[nodiscard]] Heads heads(Storage& values, std::int64_t width) const {
        return {values.data(), dtype_, shape_.query_length * width, width, shape_.head_dim};
    }
    [[nodiscard]] TensorView statistics(std::byte* data) const {
        return {data, DType::float32, {shape_.batch, shape_.heads, shape_.query_length}};
    }
    [[nodiscard]] TensorView scores(std::byte* data) const {
        return {data, dtype_, {shape_.batch, shape_.heads, shape_.query_length, shape_.key_length}};
    }

    [[nodiscard]] attention::ForwardArguments forward_arguments(const Extra& extra) {
        return {.q = heads(q_, query_width_),
                .k = heads(k_, key_width_),
                .v = heads(v_, key_width_),
                .o = heads(o_, query_width_),
                .lse = extra.lse,
                .probabilities = extra.probabilities};
    }
    [[nodiscard]] attention::BackwardArguments backward_arguments(const Extra& extra) {
        return {.q = heads(q_, query_width_),
                .k = heads(k_, key_width_),
                .v = heads(v_, key_width_),
                .o = heads(o_, query_width_),
                .d_o = heads(d_o_, query_width_),
                .lse = extra.lse,
                .probabilities = extra.probabilities,
                .d_q = heads(d_q_, query_width_),
                .d_k = heads(d_k_, key_width_),
                .d_v = heads(d_v_, key_width_),
                .row_sums = extra.row_sums,
                .d_q_sums = extra.d_q_sums,
                .d_scores = extra.d_scores,
                .workspace = extra.workspace};
    }

    device::Context& context_;
    Shape shape_;
    TrialOptions options_;
    DType dtype_;
    std::int64_t query_width_, key_width_;
    std::int64_t queries_, keys_;  ///< elements
    ReferencePart part_;
    Storage q_{context_, 0}, k_{context_, 0}, v_{context_, 0}, o_{context_, 0}, d_o_{context_, 0},
        d_q_{context_, 0}, d_k_{context_, 0}, d_v_{context_, 0};
    std::vector<std::byte> gradient_;  ///< d_o
    std::optional<AttentionReference> reference_;
};

}  // namespace

double AttentionErrors::worst() const {
    double worst = 0;
    for (const double each : {output, d_query, d_key, d_value})
        if (each > worst || std::isnan(each)) worst = each;
    return worst;
}

AttentionTolerance attention_tolerance(cost::AttentionBackend backend, DType dtype,
                                       const device::DeviceInfo& device) {
    // Sums of fp32 terms over long rows lose a few units of the last of seven digits.
    if (dtype == DType::float32) return {.values = 2e-5, .lse = device.log_sum_exp_error};
    if (dtype == DType::tf32) return {.values = 2e-3, .lse = 2e-3};  // operands of 11 bits
    // Fused kernels round inputs of products and results; manual also stores scores, of up to 4
    // here, in 16 bits before it takes their exponential, and the gradients of probabilities.
    const double fused = dtype == DType::bfloat16 ? 4e-3 : 5e-4;
    if (backend != cost::AttentionBackend::manual) return {.values = fused, .lse = 1e-4};
    return {.values = 3 * fused, .lse = 3 * fused};
}

bool AttentionTrial::passed() const {
    if (failed) return false;
    if (!ran || !errors) return true;
    return errors->worst() <= tolerance.values && errors->lse <= tolerance.lse;
}

AttentionTrials try_attention(device::Context& context, const Shape& shape,
                              std::span<const cost::AttentionBackend> backends,
                              const TrialOptions& options) {
    Bench bench(context, shape, options);
    AttentionTrials trials;
    trials.part = bench.part_text();
    for (const cost::AttentionBackend backend : backends)
        trials.backends.push_back(bench.run(backend));
    return trials;
}

double attention_forward_flops(const Shape& shape) {
    const double pairs =
        static_cast<double>(shape.query_length) * static_cast<double>(shape.key_length);
    const double all = 4.0 * static_cast<double>(shape.batch * shape.heads) * pairs *
                       static_cast<double>(shape.head_dim);
    return shape.causal ? all / 2 : all;
}

double attention_backward_flops(const Shape& shape) {
    return 2.5 * attention_forward_flops(shape);
}

}  // namespace isoflop::attention_lab
