// Which algorithms of a library were measured to be the fastest for which products, kept in a text
// file from run to run.
//
// Three lines say what the file is and for which device and library it holds; one line per product
// follows, and one with the checksum of all before it. A file for another device or library is
// written again; so is a damaged file, with a warning.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>

#include "isoflop/device/device.hpp"

namespace isoflop::device {

/// All properties of a product that its fastest algorithm may depend on.
struct GemmProblem {
    DType dtype = DType::bfloat16;
    bool allow_tf32 = false;
    bool transpose_a = false;
    bool transpose_b = false;
    std::int64_t m = 0;
    std::int64_t n = 0;
    std::int64_t k = 0;
    std::int64_t lda = 0;
    std::int64_t ldb = 0;
    std::int64_t ldc = 0;
    std::int64_t count = 1;
    std::int64_t stride_a = 0;
    std::int64_t stride_b = 0;
    std::int64_t stride_c = 0;
    bool has_bias = false;
    bool adds_to_c = false;
    Epilogue epilogue = Epilogue::none;
    /// That all rows of all matrices begin at multiples of; 1 to 16 bytes.
    std::uint32_t alignment_a = 1;
    std::uint32_t alignment_b = 1;
    std::uint32_t alignment_c = 1;
    std::uint32_t alignment_bias = 1;

    // clang-tidy 14 takes the implied comparison with 0 for a null pointer.
    auto operator<=>(const GemmProblem&) const = default;  // NOLINT(modernize-use-nullptr)
};

[[nodiscard]] GemmProblem problem_of(const DeviceGemm& product, bool allow_tf32);
/// One line, "bf16 NT 512x768x3072 ld 3072 3072 768 ...".
[[nodiscard]] std::string to_text(const GemmProblem& problem);

struct MeasuredAlgorithm {
    std::array<std::uint64_t, 8> algorithm{};  ///< as the library stores it
    double seconds = 0;
    bool operator==(const MeasuredAlgorithm&) const = default;
};

class GemmCache {
public:
    struct Origin {
        std::string device;   ///< "NVIDIA H100 80GB HBM3, capability 9.0"
        std::string library;  ///< "cuBLASLt 13.1.0"
    };
    /// Reads the file when there is one; with no path, nothing is kept.
    GemmCache(std::filesystem::path path, Origin origin);

    [[nodiscard]] bool enabled() const { return !path_.empty(); }
    [[nodiscard]] std::optional<MeasuredAlgorithm> find(const GemmProblem& problem) const;
    /// Writes the file completely or not at all.
    void add(const GemmProblem& problem, const MeasuredAlgorithm& measured);

    /// Error of reading or writing, for a warning; empty after this call.
    [[nodiscard]] std::string take_complaint();

private:
    void read();
    void write();
    [[nodiscard]] std::string head() const;

    std::filesystem::path path_;
    Origin origin_;
    std::map<std::string, MeasuredAlgorithm> entries_;  ///< by text
    std::string complaint_;
};

}  // namespace isoflop::device
