// A cuBLASLt on the host in place of src/device/cuda/cublaslt.cpp, stricter than the real one: it
// computes products as their descriptors say, and what the library documents as a requirement, or
// what would make its sums inexact, is a violation of StrictCuda.
//
// Checked: descriptors that live, sizes of attributes, matrices inside device memory, addresses as
// aligned as was declared, biases and second matrices of epilogues from 16 bytes with rows of whole
// 8 elements, workspace as large as was declared and as the algorithm needs, sums in fp32 only.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <vector>

#include "device/cuda/cublaslt.hpp"

namespace isoflop::test {

class StrictCublasLt {
public:
    static StrictCublasLt& instance();
    void reset();
    [[nodiscard]] device::cuda::CublasLtFunctions functions();

    /// What it is to answer to products with this epilogue.
    std::set<int> epilogues_without_algorithm;  ///< of the heuristic
    std::map<int, int> refusals;                ///< epilogue -> status of the product itself

    // What it has seen.
    std::vector<int> epilogues;  ///< of the products that were asked for, in order
    std::uint32_t reductions = 0;

    [[nodiscard]] std::size_t living() const { return records_.size(); }

private:
    enum class Kind { product, matrix, preference };
    struct Record {
        Kind kind{};
        int dtype = 0;
        std::int64_t rows = 0, columns = 0, stride = 0;
        std::map<int, std::vector<std::byte>> attributes = {};

        template <class T>
        [[nodiscard]] T get(int attribute, T otherwise) const;
    };
    struct Operand {
        const Record* matrix = nullptr;
        const void* data = nullptr;
    };
    struct Call {
        const Record* product = nullptr;
        Operand a, b, c, d;
        float alpha = 0;
        float beta = 0;
    };

    int create(device::cuda::CublasLtDescriptor* descriptor, Record record);
    int destroy(device::cuda::CublasLtDescriptor descriptor, Kind kind);
    int set(device::cuda::CublasLtDescriptor descriptor, Kind kind, int attribute,
            const void* value, std::size_t bytes);
    [[nodiscard]] const Record* find(device::cuda::CublasLtDescriptor descriptor, Kind kind) const;
    [[nodiscard]] bool suits_epilogue(const Record& product, const Record& d) const;
    int heuristic(const Record& product, const Record& d, const Record& preference, int requested,
                  device::cuda::CublasLtHeuristic* results, int* found);
    int multiply(const Call& call, const device::cuda::CublasLtAlgorithm& algorithm,
                 const void* workspace, std::size_t workspace_bytes, CUstream_st* stream);
    static void check_operand(const Operand& operand, std::uint64_t alignment);
    static void compute(const Record& product, const std::vector<Record>& matrices,
                        const Call& call);

    std::map<device::cuda::CublasLtDescriptor, std::unique_ptr<Record>> records_;
};

}  // namespace isoflop::test
