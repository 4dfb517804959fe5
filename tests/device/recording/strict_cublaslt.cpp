#include "device/recording/strict_cublaslt.hpp"

#include <cmath>
#include <cstring>

#include "device/recording/strict_cuda.hpp"
#include "isoflop/base/error.hpp"
#include "isoflop/base/half_precision.hpp"
#include "isoflop/device/device.hpp"

namespace isoflop::test {
namespace {

using namespace device::cuda;

constexpr std::uint64_t kMagic = 0x150F10;
constexpr std::uint64_t kAlgorithmWorkspace = 4ULL << 20U;

StrictCuda& cuda() {
    return StrictCuda::instance();
}

std::uint64_t size_of(int dtype) {
    return dtype == kCudaR32F ? 4 : 2;
}

float load(const void* data, int dtype, std::int64_t index) {
    if (dtype == kCudaR32F) return static_cast<const float*>(data)[index];
    const std::uint16_t bits = static_cast<const std::uint16_t*>(data)[index];
    return dtype == kCudaR16BF ? bfloat16_to_float(bits) : float16_to_float(bits);
}

void store(void* data, int dtype, std::int64_t index, float value) {
    if (dtype == kCudaR32F) {
        static_cast<float*>(data)[index] = value;
        return;
    }
    static_cast<std::uint16_t*>(data)[index] =
        dtype == kCudaR16BF ? float_to_bfloat16(value) : float_to_float16(value);
}

bool is_multiple(const void* address, std::uint64_t bytes) {
    return reinterpret_cast<std::uintptr_t>(address) % bytes == 0;
}

bool has_bias(int epilogue) {
    return epilogue == kEpilogueBias || epilogue == kEpilogueGeluAuxBias;
}

bool has_second_matrix(int epilogue) {
    return epilogue == kEpilogueGeluAux || epilogue == kEpilogueGeluAuxBias ||
           epilogue == kEpilogueGeluGradient;
}

/// GELU in the form with tanh, and its derivative.
double gelu(double x) {
    return 0.5 * x * (1 + std::tanh(0.7978845608028654 * (x + 0.044715 * x * x * x)));
}
double gelu_derivative(double x) {
    constexpr double kStep = 1e-5;
    return (gelu(x + kStep) - gelu(x - kStep)) / (2 * kStep);
}

}  // namespace

template <class T>
T StrictCublasLt::Record::get(int attribute, T otherwise) const {
    const auto found = attributes.find(attribute);
    if (found == attributes.end()) return otherwise;
    T value{};
    if (cuda().require(found->second.size() == sizeof(T), "an attribute of another size"))
        std::memcpy(&value, found->second.data(), sizeof(T));
    return value;
}

StrictCublasLt& StrictCublasLt::instance() {
    static StrictCublasLt library;
    return library;
}

void StrictCublasLt::reset() {
    records_.clear();
    epilogues_without_algorithm.clear();
    refusals.clear();
    epilogues.clear();
    reductions = 0;
}

int StrictCublasLt::create(CublasLtDescriptor* descriptor, Record record) {
    auto owned = std::make_unique<Record>(std::move(record));
    *descriptor = owned.get();
    records_.emplace(*descriptor, std::move(owned));
    return kCublasSuccess;
}

const StrictCublasLt::Record* StrictCublasLt::find(CublasLtDescriptor descriptor, Kind kind) const {
    const auto found = records_.find(descriptor);
    if (!cuda().require(found != records_.end() && found->second->kind == kind,
                        "a descriptor of another kind, or none"))
        return nullptr;
    return found->second.get();
}

int StrictCublasLt::destroy(CublasLtDescriptor descriptor, Kind kind) {
    if (find(descriptor, kind) == nullptr) return kCublasInvalidValue;
    records_.erase(descriptor);
    return kCublasSuccess;
}

int StrictCublasLt::set(CublasLtDescriptor descriptor, Kind kind, int attribute, const void* value,
                        std::size_t bytes) {
    if (find(descriptor, kind) == nullptr) return kCublasInvalidValue;
    const auto* const from = static_cast<const std::byte*>(value);
    records_.at(descriptor)->attributes[attribute].assign(from, from + bytes);
    return kCublasSuccess;
}

bool StrictCublasLt::suits_epilogue(const Record& product, const Record& d) const {
    const int epilogue = product.get<std::int32_t>(kProductEpilogue, kEpilogueDefault);
    bool suits = true;
    if (has_bias(epilogue)) {
        const auto* const bias = product.get<const void*>(kProductBiasPointer, nullptr);
        const auto bytes = static_cast<std::uint64_t>(d.rows) * size_of(d.dtype);
        suits = cuda().require(bias != nullptr && is_multiple(bias, 16),
                               "a bias that does not begin at a multiple of 16 bytes");
        suits = cuda().require(cuda().is_in(StrictCuda::Place::device, bias, bytes),
                               "a bias outside of device memory") &&
                suits;
    }
    if (has_second_matrix(epilogue)) {
        const auto* const second = product.get<const void*>(kProductAuxPointer, nullptr);
        const auto stride = product.get<std::int64_t>(kProductAuxStride, 0);
        const bool whole = stride % 8 == 0 && stride >= d.rows && is_multiple(second, 16) &&
                           second != nullptr && d.get<std::int32_t>(kMatrixBatchCount, 1) == 1;
        suits = cuda().require(whole, "a second matrix that does not suit its epilogue") && suits;
    }
    return suits;
}

int StrictCublasLt::heuristic(const Record& product, const Record& d, const Record& preference,
                              int requested, CublasLtHeuristic* results, int* found) {
    *found = 0;
    reductions = preference.get<std::uint32_t>(kPreferReductions, 0xFFFFFFFF);
    cuda().require(reductions == kReductionInComputeType,
                   "sums that may be in the type of the result");
    cuda().require(preference.get<std::uint64_t>(kPreferMaxWorkspace, 0) >= kAlgorithmWorkspace,
                   "no workspace for the algorithm");
    if (!suits_epilogue(product, d)) return kCublasNotSupported;
    const int epilogue = product.get<std::int32_t>(kProductEpilogue, kEpilogueDefault);
    if (epilogues_without_algorithm.contains(epilogue)) return kCublasNotSupported;
    const auto declared = [&](int attribute) -> std::uint64_t {
        return preference.get<std::uint32_t>(attribute, 256);
    };
    for (; *found < requested && *found < 2; ++*found) {
        results[*found] = {};
        results[*found].algorithm.data = {kMagic,
                                          declared(kPreferAlignmentA),
                                          declared(kPreferAlignmentB),
                                          declared(kPreferAlignmentC),
                                          declared(kPreferAlignmentD),
                                          static_cast<std::uint64_t>(epilogue),
                                          static_cast<std::uint64_t>(*found)};
        results[*found].workspace_bytes = kAlgorithmWorkspace;
    }
    return kCublasSuccess;
}

void StrictCublasLt::check_operand(const Operand& operand, std::uint64_t alignment) {
    const Record& matrix = *operand.matrix;
    const auto count = matrix.get<std::int32_t>(kMatrixBatchCount, 1);
    const auto distance = matrix.get<std::int64_t>(kMatrixBatchStride, 0);
    const std::uint64_t element = size_of(matrix.dtype);
    cuda().require(matrix.stride >= matrix.rows, "columns that overlap");
    const auto elements = static_cast<std::uint64_t>(
        (count - 1) * distance + (matrix.columns - 1) * matrix.stride + matrix.rows);
    cuda().require(cuda().is_in(StrictCuda::Place::device, operand.data, elements * element),
                   "a matrix outside of device memory");
    const bool aligned =
        is_multiple(operand.data, alignment) &&
        (matrix.columns == 1 ||
         static_cast<std::uint64_t>(matrix.stride) * element % alignment == 0) &&
        (count == 1 || static_cast<std::uint64_t>(distance) * element % alignment == 0);
    cuda().require(aligned, "a matrix less aligned than was declared");
}

int StrictCublasLt::multiply(const Call& call, const CublasLtAlgorithm& algorithm,
                             const void* workspace, std::size_t workspace_bytes,
                             CUstream_st* stream) {
    const int epilogue = call.product->get<std::int32_t>(kProductEpilogue, kEpilogueDefault);
    epilogues.push_back(epilogue);
    if (const auto refusal = refusals.find(epilogue); refusal != refusals.end())
        return refusal->second;
    if (!cuda().require(algorithm.data[0] == kMagic &&
                            algorithm.data[5] == static_cast<std::uint64_t>(epilogue),
                        "an algorithm of another product"))
        return kCublasInvalidValue;
    cuda().require(workspace_bytes >= kAlgorithmWorkspace && is_multiple(workspace, 256) &&
                       cuda().is_in(StrictCuda::Place::device, workspace, workspace_bytes),
                   "workspace that is too small, not aligned or not there");
    check_operand(call.a, algorithm.data[1]);
    check_operand(call.b, algorithm.data[2]);
    if (call.beta != 0) check_operand(call.c, algorithm.data[3]);
    check_operand(call.d, algorithm.data[4]);
    if (!suits_epilogue(*call.product, *call.d.matrix)) return kCublasInvalidValue;
    // Descriptors may change before the work is done.
    const std::vector<Record> matrices = {*call.a.matrix, *call.b.matrix, *call.d.matrix};
    const cudaError_t status =
        cuda().enqueue(stream, [=, product = *call.product] { compute(product, matrices, call); });
    return status == cudaSuccess ? kCublasSuccess : kCublasInvalidValue;
}

void StrictCublasLt::compute(const Record& product, const std::vector<Record>& matrices,
                             const Call& call) {
    const Record& a = matrices[0];
    const Record& b = matrices[1];
    const Record& d = matrices[2];
    const bool ta = product.get<std::int32_t>(kProductTransposeA, 0) == kOperationTranspose;
    const bool tb = product.get<std::int32_t>(kProductTransposeB, 0) == kOperationTranspose;
    const int epilogue = product.get<std::int32_t>(kProductEpilogue, kEpilogueDefault);
    const auto* const bias = product.get<const void*>(kProductBiasPointer, nullptr);
    auto* const second = product.get<void*>(kProductAuxPointer, nullptr);
    const auto second_stride = product.get<std::int64_t>(kProductAuxStride, 0);
    const auto place = [](const Record& matrix, std::int64_t number, std::int64_t row,
                          std::int64_t column) {
        return number * matrix.get<std::int64_t>(kMatrixBatchStride, 0) + column * matrix.stride +
               row;
    };
    const std::int64_t terms = ta ? a.rows : a.columns;
    for (std::int64_t i = 0; i < d.get<std::int32_t>(kMatrixBatchCount, 1); ++i) {
        for (std::int64_t column = 0; column < d.columns; ++column) {
            for (std::int64_t row = 0; row < d.rows; ++row) {
                double sum = 0;
                for (std::int64_t k = 0; k < terms; ++k)
                    sum +=
                        static_cast<double>(load(call.a.data, a.dtype,
                                                 ta ? place(a, i, k, row) : place(a, i, row, k))) *
                        static_cast<double>(
                            load(call.b.data, b.dtype,
                                 tb ? place(b, i, column, k) : place(b, i, k, column)));
                sum *= static_cast<double>(call.alpha);
                const std::int64_t to = place(d, i, row, column);
                if (call.beta != 0)
                    sum += static_cast<double>(call.beta * load(call.c.data, d.dtype, to));
                if (has_bias(epilogue)) sum += static_cast<double>(load(bias, d.dtype, row));
                const std::int64_t beside = column * second_stride + row;
                if (epilogue == kEpilogueGeluAux || epilogue == kEpilogueGeluAuxBias) {
                    store(second, d.dtype, beside, static_cast<float>(sum));
                    sum = gelu(sum);
                } else if (epilogue == kEpilogueGeluGradient) {
                    sum *= gelu_derivative(static_cast<double>(load(second, d.dtype, beside)));
                }
                store(const_cast<void*>(call.d.data), d.dtype, to, static_cast<float>(sum));
            }
        }
    }
}

namespace {

StrictCublasLt& lt() {
    return StrictCublasLt::instance();
}

}  // namespace

CublasLtFunctions StrictCublasLt::functions() {
    CublasLtFunctions table;
    table.get_version = [] { return std::size_t{130100}; };
    table.get_status_string = [](int) { return "a status of the test"; };
    table.create = [](CublasLtHandle* handle) {
        *handle = reinterpret_cast<CublasLtHandle>(&lt());
        return kCublasSuccess;
    };
    table.destroy = [](CublasLtHandle) { return kCublasSuccess; };
    table.matmul_desc_create = [](CublasLtDescriptor* product, int compute_type, int scale_type) {
        cuda().require((compute_type == kCompute32F || compute_type == kCompute32FFastTf32) &&
                           scale_type == kCudaR32F,
                       "sums that are not in fp32");
        return lt().create(product, {.kind = Kind::product});
    };
    table.matmul_desc_destroy = [](CublasLtDescriptor product) {
        return lt().destroy(product, Kind::product);
    };
    table.matmul_desc_set_attribute = [](CublasLtDescriptor product, int attribute,
                                         const void* value, std::size_t bytes) {
        return lt().set(product, Kind::product, attribute, value, bytes);
    };
    table.matrix_layout_create = [](CublasLtDescriptor* matrix, int dtype, std::uint64_t rows,
                                    std::uint64_t columns, std::int64_t stride) {
        return lt().create(matrix, {.kind = Kind::matrix,
                                    .dtype = dtype,
                                    .rows = static_cast<std::int64_t>(rows),
                                    .columns = static_cast<std::int64_t>(columns),
                                    .stride = stride});
    };
    table.matrix_layout_destroy = [](CublasLtDescriptor matrix) {
        return lt().destroy(matrix, Kind::matrix);
    };
    table.matrix_layout_set_attribute = [](CublasLtDescriptor matrix, int attribute,
                                           const void* value, std::size_t bytes) {
        return lt().set(matrix, Kind::matrix, attribute, value, bytes);
    };
    table.preference_create = [](CublasLtDescriptor* preference) {
        return lt().create(preference, {.kind = Kind::preference});
    };
    table.preference_destroy = [](CublasLtDescriptor preference) {
        return lt().destroy(preference, Kind::preference);
    };
    table.preference_set_attribute = [](CublasLtDescriptor preference, int attribute,
                                        const void* value, std::size_t bytes) {
        return lt().set(preference, Kind::preference, attribute, value, bytes);
    };
    table.algo_get_heuristic = [](CublasLtHandle, CublasLtDescriptor product, CublasLtDescriptor,
                                  CublasLtDescriptor, CublasLtDescriptor, CublasLtDescriptor d,
                                  CublasLtDescriptor preference, int requested,
                                  CublasLtHeuristic* results, int* found) {
        const Record* const what = lt().find(product, Kind::product);
        const Record* const to = lt().find(d, Kind::matrix);
        const Record* const how = lt().find(preference, Kind::preference);
        if (what == nullptr || to == nullptr || how == nullptr) return kCublasInvalidValue;
        return lt().heuristic(*what, *to, *how, requested, results, found);
    };
    table.algo_check = [](CublasLtHandle, CublasLtDescriptor, CublasLtDescriptor,
                          CublasLtDescriptor, CublasLtDescriptor, CublasLtDescriptor,
                          const CublasLtAlgorithm* algorithm, CublasLtHeuristic* result) {
        *result = {.algorithm = *algorithm, .workspace_bytes = kAlgorithmWorkspace};
        return algorithm->data[0] == kMagic ? kCublasSuccess : kCublasInvalidValue;
    };
    table.matmul = [](CublasLtHandle, CublasLtDescriptor product, const void* alpha, const void* a,
                      CublasLtDescriptor matrix_a, const void* b, CublasLtDescriptor matrix_b,
                      const void* beta, const void* c, CublasLtDescriptor matrix_c, void* d,
                      CublasLtDescriptor matrix_d, const CublasLtAlgorithm* algorithm,
                      void* workspace, std::size_t workspace_bytes, CUstream_st* stream) {
        const Call call{.product = lt().find(product, Kind::product),
                        .a = {lt().find(matrix_a, Kind::matrix), a},
                        .b = {lt().find(matrix_b, Kind::matrix), b},
                        .c = {lt().find(matrix_c, Kind::matrix), c},
                        .d = {lt().find(matrix_d, Kind::matrix), d},
                        .alpha = *static_cast<const float*>(alpha),
                        .beta = *static_cast<const float*>(beta)};
        if (call.product == nullptr || call.a.matrix == nullptr || call.b.matrix == nullptr ||
            call.c.matrix == nullptr || call.d.matrix == nullptr)
            return kCublasInvalidValue;
        return lt().multiply(call, *algorithm, workspace, workspace_bytes, stream);
    };
    return table;
}

}  // namespace isoflop::test

namespace isoflop::device::cuda {

void CublasLtFunctions::check(int status, const char* call) const {
    if (status != kCublasSuccess) throw Error(ExitCode::check_failed, call);
}

const CublasLtFunctions& cublaslt() {
    static const CublasLtFunctions kTable = test::StrictCublasLt::instance().functions();
    return kTable;
}

std::string cublaslt_version() {
    return "cuBLASLt of the test";
}

}  // namespace isoflop::device::cuda
