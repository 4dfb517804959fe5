// Models of the instructions that a warp executes as one. Values travel between lanes as in the PTX
// manual.
#pragma once

#include <cstdint>

#include "simt_emulator/accesses.hpp"

namespace isoflop::emulator {

enum class ShuffleMode { index, up, down, exclusive_or };

std::uint64_t shuffle(ShuffleMode mode, std::uint64_t value, int operand, int width,
                      std::uint32_t mask, const simt::Location& where);

/// Bit i: lane i takes part and its predicate holds.
std::uint32_t ballot(const char* name, bool predicate, std::uint32_t mask,
                     const simt::Location& where);

enum class MatrixType { bfloat16, float16, tf32 };

/// d += a b of one 16x8 tile; k is 16, for tf32 8.
void mma(MatrixType type, float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2],
         const simt::Location& where);

/// Loads `matrices` (1, 2 or 4) 8x8 matrices of 16-bit elements; `row` is used by the lanes that
/// give an address.
void ldmatrix(int matrices, bool transposed, std::uint32_t* result, const SharedAddress& row,
              const simt::Location& where);

/// Within the error bounds of the instructions (2^-22 relative); subnormal numbers count as zero.
float exp2_approximate(float x);
float rsqrt_approximate(float x);
/// The 10 bits of mantissa that tf32 keeps, ties away from zero.
std::uint32_t round_to_tf32(float x);

}  // namespace isoflop::emulator
