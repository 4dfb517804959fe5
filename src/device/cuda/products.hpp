// Matrix products by cuBLASLt. A product is prepared once per GemmProblem: descriptors, and the
// algorithm that the library's heuristic puts first or, where a cache file is given, the fastest
// of the first few as measured here or in an earlier run.
#pragma once

#include <map>
#include <set>
#include <vector>

#include "device/cuda/cublaslt.hpp"
#include "device/cuda/memory.hpp"
#include "device/cuda/runtime.hpp"
#include "device/gemm_cache.hpp"
#include "isoflop/device/device.hpp"

namespace isoflop::device::cuda {

class Products {
public:
    Products(const Stream& stream, const DeviceOptions& options, const DeviceInfo& info);
    ~Products();
    Products(const Products&) = delete;
    Products& operator=(const Products&) = delete;

    /// Throws where the library takes no such product. Measuring waits for the GPU, so it is not
    /// for a stream that is being recorded.
    void run(const DeviceGemm& product, bool may_measure);
    /// False, with nothing enqueued, where the library does not take the epilogue of the product.
    [[nodiscard]] bool try_run(const DeviceGemm& product, bool may_measure);

private:
    /// Descriptors of one problem. cuBLASLt stores columns one after another and we rows, so it
    /// sees every matrix transposed and computes the transpose of C, op(B)^T op(A)^T: its first
    /// factor is our B.
    struct Prepared {
        explicit Prepared(const GemmProblem& problem);
        ~Prepared();
        Prepared(Prepared&& other) noexcept;
        Prepared& operator=(Prepared&&) = delete;
        Prepared(const Prepared&) = delete;
        Prepared& operator=(const Prepared&) = delete;
        /// The addresses that its epilogue reads and writes.
        void set_addresses(const DeviceGemm& of) const;

        CublasLtDescriptor product = nullptr;
        CublasLtDescriptor a = nullptr;
        CublasLtDescriptor b = nullptr;
        CublasLtDescriptor c = nullptr;
        CublasLtAlgorithm algorithm;
        bool measured = false;
    };

    Prepared& prepared_for(const GemmProblem& problem, const DeviceGemm& product);
    [[nodiscard]] Prepared prepare(const GemmProblem& problem, const DeviceGemm& product) const;
    [[nodiscard]] std::vector<CublasLtHeuristic> candidates(const GemmProblem& problem,
                                                            const Prepared& prepared,
                                                            int most) const;
    void choose_measured(const GemmProblem& problem, const DeviceGemm& product, Prepared& prepared);
    /// nullopt when the cache does not have it, or what it has is not for this library.
    [[nodiscard]] std::optional<CublasLtAlgorithm> from_cache(const GemmProblem& problem,
                                                              const Prepared& prepared) const;
    [[nodiscard]] double seconds_of(const DeviceGemm& product, const Prepared& prepared,
                                    const CublasLtAlgorithm& algorithm, void* output) const;
    [[nodiscard]] int enqueue(const DeviceGemm& product, const Prepared& prepared,
                              const CublasLtAlgorithm& algorithm, void* output) const;
    void multiply_nothing(const DeviceGemm& product) const;
    void add_to_rows_of_bias(const DeviceGemm& product, bool may_measure);
    void warn_of_cache();

    const Stream& stream_;
    const bool allow_tf32_;
    const CublasLtFunctions& cublaslt_;
    DeviceMemory workspace_;
    GemmCache cache_;
    CublasLtHandle handle_ = nullptr;
    std::map<GemmProblem, Prepared> prepared_;
    std::set<GemmProblem> refused_;  ///< with an epilogue that the library does not take
};

}  // namespace isoflop::device::cuda
