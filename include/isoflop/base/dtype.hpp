// Element types of tensors and of hardware peaks.
#pragma once

#include <cstdint>

#include "isoflop/base/enum_names.hpp"

namespace isoflop {

/// float64 serves the tests' double-precision build of the ops; a configuration cannot name it.
enum class DType { float32, tf32, bfloat16, float16, float8, float4, int8, float64 };

template <>
inline constexpr auto enum_names<DType> = std::to_array<EnumName<DType>>({
    {DType::float32, "float32"},
    {DType::float32, "fp32"},
    {DType::tf32, "tf32"},
    {DType::bfloat16, "bfloat16"},
    {DType::bfloat16, "bf16"},
    {DType::float16, "float16"},
    {DType::float16, "fp16"},
    {DType::float8, "float8"},
    {DType::float8, "fp8"},
    {DType::float4, "float4"},
    {DType::float4, "fp4"},
    {DType::int8, "int8"},
});

/// Bytes of one stored element. tf32 is a compute format: it is stored as float32. float4 packs two
/// elements into a byte and so has no whole size; 1 is returned as the storage unit.
[[nodiscard]] constexpr std::uint64_t size_in_bytes(DType dtype) {
    switch (dtype) {
        case DType::float64: return 8;
        case DType::float32:
        case DType::tf32: return 4;
        case DType::bfloat16:
        case DType::float16: return 2;
        case DType::float8:
        case DType::float4:
        case DType::int8: return 1;
    }
    return 0;
}

/// Short name as data sheets print it: "bf16", "fp8".
[[nodiscard]] constexpr std::string_view short_name(DType dtype) {
    switch (dtype) {
        case DType::float32: return "fp32";
        case DType::tf32: return "tf32";
        case DType::bfloat16: return "bf16";
        case DType::float16: return "fp16";
        case DType::float8: return "fp8";
        case DType::float4: return "fp4";
        case DType::int8: return "int8";
        case DType::float64: return "fp64";
    }
    return "?";
}

}  // namespace isoflop
