#include "simt_emulator/instructions.hpp"

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "isoflop/base/half_precision.hpp"

namespace isoflop::emulator {
namespace {

constexpr bool has(std::uint32_t mask, int lane) {
    return (mask >> static_cast<unsigned>(lane) & 1U) != 0;
}

template <class Values>
Values& of_lane(const std::array<void*, 32>& values, int lane) {
    return *static_cast<Values*>(values[static_cast<std::size_t>(lane)]);
}

struct ShuffleValues {
    std::uint64_t value;
    int source;
    std::uint64_t result;
};

/// PTX manual, "Data Movement and Conversion Instructions: shfl.sync": the source lane within a
/// segment of `width` lanes. Where it is outside, a lane keeps its own value; xor may reach into
/// lower segments.
int shuffle_source(ShuffleMode mode, int lane, int operand, int width) {
    const int segment = lane & ~(width - 1);
    const int last = segment + width - 1;
    switch (mode) {
        case ShuffleMode::index: return segment + (operand & (width - 1));
        case ShuffleMode::up: return lane - operand >= segment ? lane - operand : lane;
        case ShuffleMode::down: return lane + operand <= last ? lane + operand : lane;
        case ShuffleMode::exclusive_or: return (lane ^ operand) <= last ? lane ^ operand : lane;
    }
    return lane;
}

void exchange(Block&, std::uint32_t mask, const std::array<void*, 32>& values) {
    for (int lane = 0; lane < 32; ++lane) {
        if (!has(mask, lane)) continue;
        auto& mine = of_lane<ShuffleValues>(values, lane);
        mine.result = of_lane<ShuffleValues>(values, mine.source).value;
    }
}

struct BallotValues {
    bool predicate;
    std::uint32_t result;
};

void collect_ballot(Block&, std::uint32_t mask, const std::array<void*, 32>& values) {
    std::uint32_t votes = 0;
    for (int lane = 0; lane < 32; ++lane) {
        if (has(mask, lane) && of_lane<BallotValues>(values, lane).predicate) {
            votes |= 1U << static_cast<unsigned>(lane);
        }
    }
    for (int lane = 0; lane < 32; ++lane) {
        if (has(mask, lane)) of_lane<BallotValues>(values, lane).result = votes;
    }
}

struct MmaValues {
    const std::uint32_t* a;
    const std::uint32_t* b;
    float* d;
};

/// One register as the elements it packs: two of 16 bits, the lower index in the low half, or one
/// of tf32.
template <MatrixType type>
float element(std::uint32_t bits, int half) {
    if constexpr (type == MatrixType::tf32) {
        return std::bit_cast<float>(bits & ~0x1FFFU);  // the unit ignores the low 13 bits
    } else {
        const auto packed = static_cast<std::uint16_t>(bits >> (half == 0 ? 0U : 16U));
        return type == MatrixType::bfloat16 ? bfloat16_to_float(packed) : float16_to_float(packed);
    }
}

/// PTX manual, "Matrix Fragments for mma.m16n8k16 with floating point type" and "... mma.m16n8k8",
/// with groupID = lane >> 2 and threadID_in_group = lane & 3. A register holds `pack` neighbours
/// along k:
///   A     a0: row groupID, k from pack * threadID_in_group
///         a1: row groupID + 8;  a2, a3: the same, k + K / 2
///   B     b0: k from pack * threadID_in_group, column groupID
///         b1: k + K / 2
///   C, D  c0, c1: row groupID, columns 2 * threadID_in_group, + 1
///         c2, c3: row groupID + 8
/// Sums are exact up to one rounding; the order and rounding inside a real unit are not documented.
template <MatrixType type>
void multiply(Block& block, std::uint32_t, const std::array<void*, 32>& values) {
    constexpr int pack = type == MatrixType::tf32 ? 1 : 2;
    constexpr int depth = 8 * pack;
    double a[16][depth];
    double b[depth][8];
    double d[16][8];
    for (int lane = 0; lane < 32; ++lane) {
        const auto& mine = of_lane<MmaValues>(values, lane);
        const int group = lane >> 2;
        const int in_group = lane & 3;
        for (int half = 0; half < pack; ++half) {
            const int k = pack * in_group + half;
            for (int i = 0; i < 4; ++i) {
                a[group + 8 * (i & 1)][k + depth / 2 * (i >> 1)] = element<type>(mine.a[i], half);
            }
            for (int i = 0; i < 2; ++i)
                b[k + depth / 2 * i][group] = element<type>(mine.b[i], half);
        }
        for (int i = 0; i < 4; ++i) d[group + 8 * (i >> 1)][2 * in_group + (i & 1)] = mine.d[i];
    }
    for (int row = 0; row < 16; ++row) {
        for (int k = 0; k < depth; ++k) {
            for (int column = 0; column < 8; ++column) d[row][column] += a[row][k] * b[k][column];
        }
    }
    for (int lane = 0; lane < 32; ++lane) {
        const auto& mine = of_lane<MmaValues>(values, lane);
        for (int i = 0; i < 4; ++i) {
            const double sum = d[(lane >> 2) + 8 * (i >> 1)][2 * (lane & 3) + (i & 1)];
            mine.d[i] = static_cast<float>(sum);
        }
    }
    ++block.counters().matrix_products;
}

struct MatrixValues {
    std::uint16_t row[8];  // that this lane's address leads to
    int matrices;
    bool transposed;
    std::uint32_t* result;
};

/// PTX manual, "Warp-level matrix load instruction: ldmatrix": lanes 8 i to 8 i + 7 give the
/// addresses of the rows of matrix i. Lane l gets of each matrix row l / 4, columns 2 (l % 4) and
/// the next; transposed, column l / 4 and those rows.
void distribute(Block&, std::uint32_t, const std::array<void*, 32>& values) {
    for (int lane = 0; lane < 32; ++lane) {
        const auto& mine = of_lane<MatrixValues>(values, lane);
        for (int matrix = 0; matrix < mine.matrices; ++matrix) {
            const auto at = [&](int row, int column) -> std::uint32_t {
                return of_lane<MatrixValues>(values, 8 * matrix + row).row[column];
            };
            const int slow = lane / 4;
            const int fast = 2 * (lane % 4);
            mine.result[matrix] = mine.transposed ? at(fast, slow) | at(fast + 1, slow) << 16U
                                                  : at(slow, fast) | at(slow, fast + 1) << 16U;
        }
    }
}

float flush_subnormal(float x) {
    return std::fabs(x) < std::numeric_limits<float>::min() ? std::copysign(0.0F, x) : x;
}

}  // namespace

std::uint64_t shuffle(ShuffleMode mode, std::uint64_t value, int operand, int width,
                      std::uint32_t mask, const simt::Location& where) {
    static constexpr const char* names[] = {"shuffle", "shuffle_up", "shuffle_down", "shuffle_xor"};
    Thread& thread = Block::current_thread();
    ShuffleValues mine{value, shuffle_source(mode, thread.lane(), operand, width), value};
    const char* name = names[static_cast<std::size_t>(mode)];
    if (!std::has_single_bit(static_cast<unsigned>(width)) || width > 32 || mine.source < 0 ||
        !has(mask, mine.source)) {
        thread.block->fault(FaultKind::absent_lanes, thread, thread.block->sites().intern(where),
                            std::string(name) + " from lane " + std::to_string(mine.source) +
                                ", width " + std::to_string(width) +
                                ": not one of the lanes in its mask");
    }
    collective(name, mask, where, mine, exchange);
    return mine.result;
}

std::uint32_t ballot(const char* name, bool predicate, std::uint32_t mask,
                     const simt::Location& where) {
    BallotValues mine{predicate, 0};
    collective(name, mask, where, mine, collect_ballot);
    return mine.result;
}

void mma(MatrixType type, float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2],
         const simt::Location& where) {
    MmaValues mine{a, b, d};
    switch (type) {
        case MatrixType::bfloat16:
            return collective("mma_m16n8k16", simt::all_lanes, where, mine,
                              multiply<MatrixType::bfloat16>);
        case MatrixType::float16:
            return collective("mma_m16n8k16", simt::all_lanes, where, mine,
                              multiply<MatrixType::float16>);
        case MatrixType::tf32:
            return collective("mma_m16n8k8", simt::all_lanes, where, mine,
                              multiply<MatrixType::tf32>);
    }
}

void ldmatrix(int matrices, bool transposed, std::uint32_t* result, const SharedAddress& row,
              const simt::Location& where) {
    MatrixValues mine{{}, matrices, transposed, result};
    const bool gives_address = Block::current_thread().lane() < 8 * matrices;
    if (gives_address) load(row, mine.row, sizeof mine.row, where);
    collective("ldmatrix", simt::all_lanes, where, mine, distribute);
}

float exp2_approximate(float x) {
    return flush_subnormal(static_cast<float>(std::exp2(static_cast<double>(flush_subnormal(x)))));
}

float rsqrt_approximate(float x) {
    return static_cast<float>(1.0 / std::sqrt(static_cast<double>(flush_subnormal(x))));
}

std::uint32_t round_to_tf32(float x) {
    const auto bits = std::bit_cast<std::uint32_t>(x);
    if ((bits & 0x7F80'0000U) == 0x7F80'0000U) return bits;  // infinity, NaN
    return (bits + 0x1000U) & ~0x1FFFU;
}

}  // namespace isoflop::emulator
