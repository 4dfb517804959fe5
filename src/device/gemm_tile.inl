// The kernels of one instruction set, written over `Vector`. The including source defines
//   ISOFLOP_TARGET          attribute that allows its instructions in a function
//   Vector                  Type, Mask, kWidth, zero, broadcast, load, load_first, store_first, fma, sum, ...
//   kTileRows, kTileVectors size of the largest tile: its sums and operands must fit the registers
// in the anonymous namespace that this text belongs to. Loops with fixed bounds are unrolled
// completely, which turns the arrays into registers.

/// Panels of B come from the second-level cache; so many steps hide its latency.
constexpr std::int64_t kStepsAhead = 8;

/// `whole_b`: the last vector of B may be read to its end. Packed panels are padded for that.
template <int rows, int vectors, bool packed_a, bool whole_b>
ISOFLOP_TARGET void multiply_tile(const TileArguments& tile) {
    using Type = Vector::Type;
    constexpr int kLast = vectors - 1;
    constexpr int kWidth = Vector::kWidth;
    const Vector::Mask mask = Vector::first(tile.columns - kLast * kWidth);

    // C arrives while the sums are formed.
    float* const c = tile.c;
    const std::int64_t ldc = tile.ldc;
#pragma GCC unroll 16
    for (int row = 0; row < rows; ++row) {
        __builtin_prefetch(c + row * ldc, 1);
        __builtin_prefetch(c + row * ldc + tile.columns - 1, 1);
    }

    Type sums[rows][vectors];
#pragma GCC unroll 16
    for (int row = 0; row < rows; ++row) {
#pragma GCC unroll 4
        for (int v = 0; v < vectors; ++v) sums[row][v] = Vector::zero();
    }

    const float* a = tile.a;
    const float* b = tile.b;
    const std::int64_t stride = packed_a ? 1 : tile.a_row_stride;
    const std::int64_t a_step = packed_a ? kTileRows : tile.a_step;
    const std::int64_t b_step = tile.b_step;
    // Three bases serve twelve rows by addressing modes alone.
    const std::int64_t four_rows = 4 * stride;
    for (std::int64_t left = tile.depth; left > 0; --left) {
#pragma GCC unroll 4
        for (int v = 0; v < vectors; ++v) {
            __builtin_prefetch(b + kStepsAhead * b_step + v * kWidth);
        }
        Type b_row[vectors];
#pragma GCC unroll 4
        for (int v = 0; v < kLast; ++v) b_row[v] = Vector::load(b + v * kWidth);
        b_row[kLast] = whole_b ? Vector::load(b + kLast * kWidth)
                               : Vector::load_first(b + kLast * kWidth, mask);
#pragma GCC unroll 16
        for (int row = 0; row < rows; ++row) {
            const Type factor = Vector::broadcast(
                packed_a ? a + row : a + (row / 4) * four_rows + (row % 4) * stride);
#pragma GCC unroll 4
            for (int v = 0; v < vectors; ++v) {
                sums[row][v] = Vector::fma(factor, b_row[v], sums[row][v]);
            }
        }
        a += a_step;
        b += b_step;
    }

    const Type alpha = Vector::broadcast(&tile.alpha);
    const Type beta = Vector::broadcast(&tile.beta);
    const bool add_to_c = tile.beta != 0;
#pragma GCC unroll 16
    for (int row = 0; row < rows; ++row) {
        float* const c_row = c + row * ldc;
#pragma GCC unroll 4
        for (int v = 0; v < vectors; ++v) {
            Type value = Vector::multiply(alpha, sums[row][v]);
            if (v < kLast) {
                if (add_to_c) {
                    const Type old = Vector::multiply(beta, Vector::load(c_row + v * kWidth));
                    value = Vector::fma(alpha, sums[row][v], old);
                }
                Vector::store(c_row + v * kWidth, value);
            } else {
                if (add_to_c) {
                    const Type old =
                        Vector::multiply(beta, Vector::load_first(c_row + v * kWidth, mask));
                    value = Vector::fma(alpha, sums[row][v], old);
                }
                Vector::store_first(c_row + v * kWidth, mask, value);
            }
        }
    }
}

template <bool packed_a, bool whole_b, std::size_t... index>
constexpr auto make_tile_table(std::index_sequence<index...>) {
    return std::array<TileFunction, sizeof...(index)>{
        &multiply_tile<static_cast<int>(index) / kTileVectors + 1,
                       static_cast<int>(index) % kTileVectors + 1, packed_a, whole_b>...};
}

TileFunction find_tile(int rows, int columns, bool packed_a, bool packed_b) {
    using Indices = std::make_index_sequence<static_cast<std::size_t>(kTileRows * kTileVectors)>;
    static constexpr std::array kTables{
        make_tile_table<false, false>(Indices{}), make_tile_table<false, true>(Indices{}),
        make_tile_table<true, false>(Indices{}), make_tile_table<true, true>(Indices{})};
    const int vectors = (columns + Vector::kWidth - 1) / Vector::kWidth;
    const bool whole_b = packed_b || columns == vectors * Vector::kWidth;
    const auto index = static_cast<std::size_t>((rows - 1) * kTileVectors + vectors - 1);
    return kTables[(packed_a ? 2U : 0U) + (whole_b ? 1U : 0U)][index];
}

/// `rows` rows of A with `columns` rows of B.
template <int rows, int columns>
ISOFLOP_TARGET void dot_block(const DotArguments& arguments, std::int64_t row,
                              std::int64_t column) {
    using Type = Vector::Type;
    const float* a = arguments.a + row * arguments.lda;
    const float* b = arguments.b + column * arguments.ldb;
    Type sums[rows][columns];
#pragma GCC unroll 4
    for (int i = 0; i < rows; ++i) {
#pragma GCC unroll 4
        for (int j = 0; j < columns; ++j) sums[i][j] = Vector::zero();
    }
    for (std::int64_t p = 0; p < arguments.depth; p += Vector::kWidth) {
        const std::int64_t left = arguments.depth - p;
        const Vector::Mask mask =
            Vector::first(left < Vector::kWidth ? static_cast<int>(left) : Vector::kWidth);
        Type a_part[rows];
#pragma GCC unroll 4
        for (int i = 0; i < rows; ++i) {
            a_part[i] = Vector::load_first(a + i * arguments.lda + p, mask);
        }
#pragma GCC unroll 4
        for (int j = 0; j < columns; ++j) {
            const Type b_part = Vector::load_first(b + j * arguments.ldb + p, mask);
#pragma GCC unroll 4
            for (int i = 0; i < rows; ++i) sums[i][j] = Vector::fma(a_part[i], b_part, sums[i][j]);
        }
    }
    for (int i = 0; i < rows; ++i) {
        for (int j = 0; j < columns; ++j) {
            float& c = arguments.c[(row + i) * arguments.ldc + column + j];
            const float value = arguments.alpha * Vector::sum(sums[i][j]);
            c = arguments.beta == 0 ? value : value + arguments.beta * c;
        }
    }
}

template <int rows>
ISOFLOP_TARGET void dot_rows(const DotArguments& arguments, std::int64_t row) {
    constexpr int kColumns = 4;
    std::int64_t column = 0;
    for (; column + kColumns <= arguments.columns; column += kColumns) {
        dot_block<rows, kColumns>(arguments, row, column);
    }
    for (; column < arguments.columns; ++column) dot_block<rows, 1>(arguments, row, column);
}

void dots(const DotArguments& arguments) {
    std::int64_t row = 0;
    for (; row + 4 <= arguments.rows; row += 4) dot_rows<4>(arguments, row);
    for (; row + 2 <= arguments.rows; row += 2) dot_rows<2>(arguments, row);
    for (; row < arguments.rows; ++row) dot_rows<1>(arguments, row);
}

/// Twelve independent chains cover the latency of every multiply-add unit so far.
constexpr int kPeakChains = 12;

ISOFLOP_TARGET float multiply_add_loop(std::int64_t iterations) {
    using Type = Vector::Type;
    const float factor = 0.999F;
    const float addend = 0.001F;
    const Type factors = Vector::broadcast(&factor);
    const Type addends = Vector::broadcast(&addend);
    Type chains[kPeakChains];
#pragma GCC unroll 16
    for (int i = 0; i < kPeakChains; ++i) {
        const float start = static_cast<float>(i);
        chains[i] = Vector::broadcast(&start);
    }
    for (std::int64_t iteration = 0; iteration < iterations; ++iteration) {
#pragma GCC unroll 16
        for (int i = 0; i < kPeakChains; ++i) {
            chains[i] = Vector::fma(chains[i], factors, addends);
        }
    }
    float total = 0;
    for (int i = 0; i < kPeakChains; ++i) total += Vector::sum(chains[i]);
    return total;
}

constexpr MicroKernel kKernel{.rows = kTileRows,
                              .columns = kTileVectors * Vector::kWidth,
                              .tile = &find_tile,
                              .dots = &dots,
                              .multiply_add_loop = &multiply_add_loop,
                              .flops_per_iteration = 2LL * kPeakChains * Vector::kWidth};
