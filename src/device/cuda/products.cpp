#include "device/cuda/products.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <iostream>
#include <limits>
#include <stdexcept>
#include <utility>

#include "isoflop/base/error.hpp"
#include "isoflop/base/printable.hpp"

namespace isoflop::device::cuda {
namespace {

constexpr int kMostMeasured = 8;
constexpr int kRepeats = 5;
constexpr std::uintptr_t kEpilogueAlignment = 16;

struct NoAlgorithm : Error {
    explicit NoAlgorithm(const std::string& message) : Error(ExitCode::check_failed, message) {}
};

int cuda_type(DType dtype) {
    switch (dtype) {
        case DType::float32: return kCudaR32F;
        case DType::bfloat16: return kCudaR16BF;
        case DType::float16: return kCudaR16F;
        default: throw std::logic_error("no matrix product of this element type");
    }
}

/// Rows of `columns` elements, which cuBLASLt sees as columns.
CublasLtDescriptor make_matrix(DType dtype, std::int64_t rows, std::int64_t columns,
                               std::int64_t stride, std::int64_t count, std::int64_t distance) {
    const CublasLtFunctions& lt = cublaslt();
    CublasLtDescriptor matrix = nullptr;
    lt.check(lt.matrix_layout_create(&matrix, cuda_type(dtype), static_cast<std::uint64_t>(columns),
                                     static_cast<std::uint64_t>(rows), stride),
             "cublasLtMatrixLayoutCreate");
    if (count > 1) {
        const auto matrices = static_cast<std::int32_t>(count);
        lt.check(
            lt.matrix_layout_set_attribute(matrix, kMatrixBatchCount, &matrices, sizeof(matrices)),
            "cublasLtMatrixLayoutSetAttribute");
        lt.check(
            lt.matrix_layout_set_attribute(matrix, kMatrixBatchStride, &distance, sizeof(distance)),
            "cublasLtMatrixLayoutSetAttribute");
    }
    return matrix;
}

template <class T>
void set_attribute(CublasLtDescriptor product, int attribute, const T& value) {
    cublaslt().check(
        cublaslt().matmul_desc_set_attribute(product, attribute, &value, sizeof(value)),
        "cublasLtMatmulDescSetAttribute");
}

/// The choices of the heuristic.
class Preference {
public:
    Preference() {
        cublaslt().check(cublaslt().preference_create(&preference_),
                         "cublasLtMatmulPreferenceCreate");
    }
    ~Preference() { (void)cublaslt().preference_destroy(preference_); }
    Preference(const Preference&) = delete;
    Preference& operator=(const Preference&) = delete;

    template <class T>
    void set(int attribute, const T& value) {
        cublaslt().check(
            cublaslt().preference_set_attribute(preference_, attribute, &value, sizeof(value)),
            "cublasLtMatmulPreferenceSetAttribute");
    }
    [[nodiscard]] CublasLtDescriptor get() const { return preference_; }

private:
    CublasLtDescriptor preference_ = nullptr;
};

std::uint64_t bytes_of_c(const DeviceGemm& product) {
    const GemmShape& shape = product.shape;
    const std::int64_t elements =
        (product.count - 1) * product.stride_c + (shape.m - 1) * shape.ldc + shape.n;
    return static_cast<std::uint64_t>(elements) * size_in_bytes(product.dtype);
}

int epilogue_of(const GemmProblem& problem) {
    switch (problem.epilogue) {
        case Epilogue::none: break;
        case Epilogue::gelu: return problem.has_bias ? kEpilogueGeluAuxBias : kEpilogueGeluAux;
        case Epilogue::gelu_gradient: return kEpilogueGeluGradient;
    }
    return problem.has_bias ? kEpilogueBias : kEpilogueDefault;
}

bool is_aligned(const void* address) {
    return reinterpret_cast<std::uintptr_t>(address) % kEpilogueAlignment == 0;
}

/// Requirements of cuBLASLt for a bias, and for the second matrix of an epilogue: rows of whole 8
/// elements, both from 16 bytes.
bool suits_epilogue(const DeviceGemm& product) {
    if (!is_aligned(product.bias)) return false;
    if (product.epilogue == Epilogue::none) return true;
    return product.beta == 0 && product.count == 1 && product.shape.k > 0 &&
           product.shape.ldc % 8 == 0 && is_aligned(product.gelu_input) &&
           (product.epilogue == Epilogue::gelu || product.bias == nullptr);
}

/// Answers of cuBLASLt to a product that it does not have, before anything is enqueued. Others are
/// failures of the device.
bool is_refusal(int status) {
    return status == kCublasNotSupported || status == kCublasInvalidValue ||
           status == kCublasArchMismatch;
}

void check_arguments(const DeviceGemm& product) {
    const GemmShape& shape = product.shape;
    const bool transpose_a = shape.transpose_a == Transpose::yes;
    const bool transpose_b = shape.transpose_b == Transpose::yes;
    if (shape.lda < (transpose_a ? shape.m : shape.k) ||
        shape.ldb < (transpose_b ? shape.k : shape.n) || shape.ldc < shape.n)
        throw std::logic_error("matrix product: a stride is shorter than its rows");
    if (product.bias != nullptr && product.beta != 0)
        throw std::logic_error("matrix product: a bias is added with beta 0 only");
    if (product.count > std::numeric_limits<std::int32_t>::max())
        throw std::logic_error("matrix product: too many at once");
}

}  // namespace

Products::Prepared::Prepared(const GemmProblem& p) {
    const CublasLtFunctions& lt = cublaslt();
    const int compute = p.allow_tf32 ? kCompute32FFastTf32 : kCompute32F;
    lt.check(lt.matmul_desc_create(&product, compute, kCudaR32F), "cublasLtMatmulDescCreate");
    const auto operation = [](bool transpose) -> std::int32_t {
        return transpose ? kOperationTranspose : kOperationNone;
    };
    set_attribute(product, kProductTransposeA, operation(p.transpose_b));
    set_attribute(product, kProductTransposeB, operation(p.transpose_a));
    set_attribute(product, kProductEpilogue, std::int32_t{epilogue_of(p)});
    if (p.epilogue != Epilogue::none) set_attribute(product, kProductAuxStride, p.ldc);
    const auto matrix = [&](bool transposed, std::int64_t rows, std::int64_t columns,
                            std::int64_t stride, std::int64_t distance) {
        if (transposed) std::swap(rows, columns);
        return make_matrix(p.dtype, rows, columns, stride, p.count, distance);
    };
    a = matrix(p.transpose_a, p.m, p.k, p.lda, p.stride_a);
    b = matrix(p.transpose_b, p.k, p.n, p.ldb, p.stride_b);
    c = matrix(false, p.m, p.n, p.ldc, p.stride_c);
}

Products::Prepared::Prepared(Prepared&& other) noexcept
    : product(std::exchange(other.product, nullptr)),
      a(std::exchange(other.a, nullptr)),
      b(std::exchange(other.b, nullptr)),
      c(std::exchange(other.c, nullptr)),
      algorithm(other.algorithm),
      measured(other.measured) {}

Products::Prepared::~Prepared() {
    if (product != nullptr) (void)cublaslt().matmul_desc_destroy(product);
    for (CublasLtDescriptor matrix : {a, b, c}) {
        if (matrix != nullptr) (void)cublaslt().matrix_layout_destroy(matrix);
    }
}

void Products::Prepared::set_addresses(const DeviceGemm& of) const {
    if (of.bias != nullptr) set_attribute(product, kProductBiasPointer, of.bias);
    if (of.gelu_input != nullptr) set_attribute(product, kProductAuxPointer, of.gelu_input);
}

Products::Products(const Stream& stream, const DeviceOptions& options, const DeviceInfo& info)
    : stream_(stream),
      allow_tf32_(options.allow_tf32),
      cublaslt_(cublaslt()),
      workspace_(kGemmWorkspaceBytes),
      cache_(options.gemm_cache,
             {.device = fmt::format("{}, capability {}.{}", info.name, info.capability_major,
                                    info.capability_minor),
              .library = cublaslt_version() + ", sums in fp32"}) {
    cublaslt_.check(cublaslt_.create(&handle_), "cublasLtCreate");
    warn_of_cache();
}

Products::~Products() {
    prepared_.clear();
    (void)cublaslt_.destroy(handle_);
}

void Products::run(const DeviceGemm& product, bool may_measure) {
    if (try_run(product, may_measure)) return;
    if (product.epilogue != Epilogue::none)
        throw std::logic_error("matrix product: not one for this epilogue");
    add_to_rows_of_bias(product, may_measure);
}

bool Products::try_run(const DeviceGemm& product, bool may_measure) {
    const GemmShape& shape = product.shape;
    if (shape.m == 0 || shape.n == 0 || product.count == 0) return true;
    check_arguments(product);
    if (!suits_epilogue(product)) return false;
    if (shape.k == 0) {
        if (product.bias != nullptr) return false;
        multiply_nothing(product);
        return true;
    }
    const GemmProblem problem = problem_of(product, allow_tf32_);
    if (refused_.contains(problem)) return false;
    const bool has_epilogue = epilogue_of(problem) != kEpilogueDefault;
    const auto refuse = [&] {
        prepared_.erase(problem);
        refused_.insert(problem);
        return false;
    };
    try {
        Prepared& prepared = prepared_for(problem, product);
        if (cache_.enabled() && may_measure && !prepared.measured)
            choose_measured(problem, product, prepared);
        prepared.set_addresses(product);
        const int status = enqueue(product, prepared, prepared.algorithm, product.c);
        if (status == kCublasSuccess) return true;
        if (has_epilogue && is_refusal(status)) return refuse();
        throw Error(ExitCode::check_failed,
                    fmt::format("cublasLtMatmul: {} ({})", cublaslt_.get_status_string(status),
                                to_text(problem)));
    } catch (const NoAlgorithm&) {
        if (!has_epilogue) throw;
        return refuse();
    }
}

Products::Prepared& Products::prepared_for(const GemmProblem& problem, const DeviceGemm& product) {
    auto place = prepared_.find(problem);
    if (place == prepared_.end())
        place = prepared_.emplace(problem, prepare(problem, product)).first;
    return place->second;
}

Products::Prepared Products::prepare(const GemmProblem& problem, const DeviceGemm& product) const {
    Prepared prepared(problem);
    // The heuristic looks at their alignment.
    prepared.set_addresses(product);
    const std::optional<CublasLtAlgorithm> known = from_cache(problem, prepared);
    prepared.measured = known.has_value();
    prepared.algorithm =
        known.has_value() ? *known : candidates(problem, prepared, 1).front().algorithm;
    return prepared;
}

std::vector<CublasLtHeuristic> Products::candidates(const GemmProblem& problem,
                                                    const Prepared& prepared, int most) const {
    Preference preference;
    preference.set(kPreferMaxWorkspace, kGemmWorkspaceBytes);
    // Parts of a sum are added up in fp32, never in place, which is in the type of C.
    preference.set(kPreferReductions, kReductionInComputeType);
    preference.set(kPreferAlignmentA, problem.alignment_b);
    preference.set(kPreferAlignmentB, problem.alignment_a);
    preference.set(kPreferAlignmentC, problem.alignment_c);
    preference.set(kPreferAlignmentD, problem.alignment_c);
    std::vector<CublasLtHeuristic> results(static_cast<std::size_t>(most));
    int found = 0;
    const int status =
        cublaslt_.algo_get_heuristic(handle_, prepared.product, prepared.b, prepared.a, prepared.c,
                                     prepared.c, preference.get(), most, results.data(), &found);
    results.resize(static_cast<std::size_t>(std::max(found, 0)));
    std::erase_if(results, [](const auto& result) { return result.status != kCublasSuccess; });
    if (status == kCublasSuccess && !results.empty()) return results;
    throw NoAlgorithm(fmt::format(
        "{} has no algorithm for the matrix product {}: {}", cublaslt_version(), to_text(problem),
        status == kCublasSuccess ? "none found" : cublaslt_.get_status_string(status)));
}

std::optional<CublasLtAlgorithm> Products::from_cache(const GemmProblem& problem,
                                                      const Prepared& prepared) const {
    const std::optional<MeasuredAlgorithm> measured = cache_.find(problem);
    if (!measured.has_value()) return std::nullopt;
    const CublasLtAlgorithm algorithm{measured->algorithm};
    CublasLtHeuristic checked;
    const int status = cublaslt_.algo_check(handle_, prepared.product, prepared.b, prepared.a,
                                            prepared.c, prepared.c, &algorithm, &checked);
    if (status != kCublasSuccess || checked.workspace_bytes > kGemmWorkspaceBytes)
        return std::nullopt;
    return algorithm;
}

void Products::choose_measured(const GemmProblem& problem, const DeviceGemm& product,
                               Prepared& prepared) {
    prepared.measured = true;  // or not to be
    try {
        // C may be an input too, so results of trials are written elsewhere.
        const DeviceMemory output(bytes_of_c(product));
        MeasuredAlgorithm best{.seconds = std::numeric_limits<double>::infinity()};
        for (const CublasLtHeuristic& each : candidates(problem, prepared, kMostMeasured)) {
            const double seconds = seconds_of(product, prepared, each.algorithm, output.data());
            if (seconds < best.seconds)
                best = {.algorithm = each.algorithm.data, .seconds = seconds};
        }
        stream_.synchronize();
        if (best.seconds == std::numeric_limits<double>::infinity()) return;
        prepared.algorithm = {best.algorithm};
        cache_.add(problem, best);
        warn_of_cache();
    } catch (const Error& error) {
        if (error.exit_code() != ExitCode::out_of_memory) throw;
    }
}

double Products::seconds_of(const DeviceGemm& product, const Prepared& prepared,
                            const CublasLtAlgorithm& algorithm, void* output) const {
    const Event begin(Timing::on);
    const Event end(Timing::on);
    double best = std::numeric_limits<double>::infinity();
    for (int repeat = -1; repeat < kRepeats; ++repeat) {  // the first one loads the kernel
        begin.record(stream_);
        if (enqueue(product, prepared, algorithm, output) != kCublasSuccess) return best;
        end.record(stream_);
        end.synchronize();
        if (repeat >= 0) best = std::min(best, seconds_between(begin, end));
    }
    return best;
}

int Products::enqueue(const DeviceGemm& product, const Prepared& prepared,
                      const CublasLtAlgorithm& algorithm, void* output) const {
    return cublaslt_.matmul(handle_, prepared.product, &product.alpha, product.b, prepared.b,
                            product.a, prepared.a, &product.beta, product.c, prepared.c, output,
                            prepared.c, &algorithm, workspace_.data(), kGemmWorkspaceBytes,
                            stream_.get());
}

/// Sums of no terms, which cuBLASLt refuses.
void Products::multiply_nothing(const DeviceGemm& product) const {
    if (product.beta == 1) return;
    if (product.beta != 0) throw std::logic_error("matrix product of no terms with beta");
    const std::uint64_t bytes = size_in_bytes(product.dtype);
    for (std::int64_t i = 0; i < product.count; ++i) {
        auto* const c = static_cast<std::byte*>(product.c) +
                        static_cast<std::uint64_t>(i * product.stride_c) * bytes;
        check(cudaMemset2DAsync(c, static_cast<std::uint64_t>(product.shape.ldc) * bytes, 0,
                                static_cast<std::uint64_t>(product.shape.n) * bytes,
                                static_cast<std::uint64_t>(product.shape.m), stream_.get()),
              "cudaMemset2DAsync");
    }
}

/// Where the library does not add the bias itself: C is filled with rows of it, and the product is
/// added to that.
void Products::add_to_rows_of_bias(const DeviceGemm& product, bool may_measure) {
    const std::uint64_t element = size_in_bytes(product.dtype);
    const std::uint64_t pitch = static_cast<std::uint64_t>(product.shape.ldc) * element;
    const std::uint64_t width = static_cast<std::uint64_t>(product.shape.n) * element;
    const auto rows = static_cast<std::uint64_t>(product.shape.m);
    const auto copy_rows = [&](std::byte* to, const void* from, std::uint64_t count) {
        check(cudaMemcpy2DAsync(to, pitch, from, pitch, width, count, cudaMemcpyDeviceToDevice,
                                stream_.get()),
              "cudaMemcpy2DAsync");
    };
    for (std::int64_t i = 0; i < product.count; ++i) {
        auto* const c = static_cast<std::byte*>(product.c) +
                        static_cast<std::uint64_t>(i * product.stride_c) * element;
        copy_rows(c, product.bias, 1);
        for (std::uint64_t filled = 1; filled < rows; filled *= 2)
            copy_rows(c + filled * pitch, c, std::min(filled, rows - filled));
    }
    DeviceGemm sum = product;
    sum.bias = nullptr;
    sum.beta = 1;
    run(sum, may_measure);
}

void Products::warn_of_cache() {
    if (const std::string complaint = cache_.take_complaint(); !complaint.empty())
        std::cerr << "warning: gemm cache " << printable_lines(complaint) << '\n';
}

}  // namespace isoflop::device::cuda
