#include "device/gemm_cache.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <sstream>
#include <utility>

#include "isoflop/base/checksum.hpp"
#include "isoflop/base/error.hpp"
#include "isoflop/base/file.hpp"

namespace isoflop::device {
namespace {

constexpr const char* kTitle = "isoflop gemm cache, version 1";
constexpr const char* kChecksum = "checksum ";
constexpr std::uint64_t kLargestCache = std::uint64_t{1} << 28U;

std::uint32_t common_alignment(const void* pointer, std::int64_t stride_bytes,
                               std::int64_t distance_bytes) {
    const std::uint64_t all = reinterpret_cast<std::uintptr_t>(pointer) |
                              static_cast<std::uint64_t>(stride_bytes) |
                              static_cast<std::uint64_t>(distance_bytes) | 16U;
    return static_cast<std::uint32_t>(all & (~all + 1));  // the lowest bit
}

std::string algorithm_text(const std::array<std::uint64_t, 8>& algorithm) {
    std::string text;
    for (const std::uint64_t word : algorithm) text += fmt::format("{:016x}", word);
    return text;
}

/// False when the line is none of to_text's and algorithm_text's.
bool parse_entry(const std::string& line, std::string& problem, MeasuredAlgorithm& measured) {
    std::istringstream in(line);
    std::string algorithm;
    if (!(in >> algorithm >> measured.seconds >> std::ws) || !std::getline(in, problem))
        return false;
    const bool hexadecimal = std::all_of(algorithm.begin(), algorithm.end(),
                                         [](unsigned char c) { return std::isxdigit(c) != 0; });
    if (algorithm.size() != 16 * measured.algorithm.size() || !hexadecimal || problem.empty())
        return false;
    for (std::size_t i = 0; i < measured.algorithm.size(); ++i)
        measured.algorithm[i] = std::stoull(algorithm.substr(16 * i, 16), nullptr, 16);
    return true;
}

std::string_view to_text(Epilogue epilogue) {
    switch (epilogue) {
        case Epilogue::none: return "";
        case Epilogue::gelu: return " gelu";
        case Epilogue::gelu_gradient: return " gelu_gradient";
    }
    return "";
}

}  // namespace

GemmProblem problem_of(const DeviceGemm& product, bool allow_tf32) {
    const GemmShape& shape = product.shape;
    const auto bytes = static_cast<std::int64_t>(size_in_bytes(product.dtype));
    const bool batched = product.count > 1;
    const auto alignment = [&](const void* pointer, std::int64_t stride, std::int64_t distance) {
        return common_alignment(pointer, stride * bytes, batched ? distance * bytes : 0);
    };
    return {.dtype = product.dtype,
            .allow_tf32 = allow_tf32 && product.dtype == DType::float32,
            .transpose_a = shape.transpose_a == Transpose::yes,
            .transpose_b = shape.transpose_b == Transpose::yes,
            .m = shape.m,
            .n = shape.n,
            .k = shape.k,
            .lda = shape.lda,
            .ldb = shape.ldb,
            .ldc = shape.ldc,
            .count = product.count,
            .stride_a = batched ? product.stride_a : 0,
            .stride_b = batched ? product.stride_b : 0,
            .stride_c = batched ? product.stride_c : 0,
            .has_bias = product.bias != nullptr,
            .adds_to_c = product.beta != 0,
            .epilogue = product.epilogue,
            .alignment_a = alignment(product.a, shape.lda, product.stride_a),
            .alignment_b = alignment(product.b, shape.ldb, product.stride_b),
            .alignment_c = alignment(product.c, shape.ldc, product.stride_c),
            .alignment_bias = common_alignment(product.bias, 0, 0)};
}

std::string to_text(const GemmProblem& p) {
    return fmt::format(
        "{} {}{} {}x{}x{} ld {} {} {} count {} distance {} {} {} aligned {} {} {}{}{}{}",
        p.allow_tf32 ? short_name(DType::tf32) : short_name(p.dtype), p.transpose_a ? 'T' : 'N',
        p.transpose_b ? 'T' : 'N', p.m, p.n, p.k, p.lda, p.ldb, p.ldc, p.count, p.stride_a,
        p.stride_b, p.stride_c, p.alignment_a, p.alignment_b, p.alignment_c,
        p.has_bias ? fmt::format(" bias {}", p.alignment_bias) : "", p.adds_to_c ? " adds" : "",
        to_text(p.epilogue));
}

GemmCache::GemmCache(std::filesystem::path path, Origin origin)
    : path_(std::move(path)), origin_(std::move(origin)) {
    if (enabled()) read();
}

std::optional<MeasuredAlgorithm> GemmCache::find(const GemmProblem& problem) const {
    const auto entry = entries_.find(to_text(problem));
    if (entry == entries_.end()) return std::nullopt;
    return entry->second;
}

void GemmCache::add(const GemmProblem& problem, const MeasuredAlgorithm& measured) {
    if (!enabled()) return;
    entries_[to_text(problem)] = measured;
    write();
}

std::string GemmCache::take_complaint() {
    return std::exchange(complaint_, {});
}

std::string GemmCache::head() const {
    return fmt::format("{}\ndevice {}\nlibrary {}\n", kTitle, origin_.device, origin_.library);
}

void GemmCache::read() {
    std::error_code unknown;
    if (!std::filesystem::exists(path_, unknown)) return;
    const auto damaged = [&](const char* what) {
        entries_.clear();
        complaint_ =
            fmt::format("{} is ignored: {}; products are measured again", path_.string(), what);
    };
    std::string text;
    try {
        text = read_text_file(path_, kLargestCache);
    } catch (const IoError&) {
        return damaged("it cannot be read");
    }
    const std::size_t end = text.rfind(kChecksum);
    if (text.compare(0, std::string(kTitle).size(), kTitle) != 0)
        return damaged("it is not a cache of matrix products");
    if (end == std::string::npos ||
        text.substr(end) != kChecksum + checksum_text(crc32c(text.substr(0, end))) + "\n")
        return damaged("it is damaged");
    const std::string expected_head = head();
    if (text.compare(0, expected_head.size(), expected_head) != 0) return;  // of another device
    std::istringstream lines(text.substr(expected_head.size(), end - expected_head.size()));
    for (std::string line; std::getline(lines, line);) {
        std::string problem;
        MeasuredAlgorithm measured;
        if (!parse_entry(line, problem, measured)) return damaged("it has a malformed line");
        entries_[problem] = measured;
    }
}

void GemmCache::write() {
    std::string text = head();
    for (const auto& [problem, measured] : entries_) {
        text += fmt::format("{} {:.9f} {}\n", algorithm_text(measured.algorithm), measured.seconds,
                            problem);
    }
    text += kChecksum + checksum_text(crc32c(text)) + "\n";
    // Ranks on one machine share the file: each writes its own and then puts it in place.
    try {
        NewFile file(path_, fmt::format("{}.{}.tmp", path_.string(), getpid()));
        file.append(text);
        file.commit(false);
    } catch (const IoError&) {
        complaint_ = fmt::format("{} cannot be written; products will be measured again next time",
                                 path_.string());
    }
}

}  // namespace isoflop::device
