// Blocks after Goto and van de Geijn, "Anatomy of High-Performance Matrix Multiplication" (2008),
// and BLIS.
//
// A block of op(B) is packed into panels once, by all threads. Then threads take tiles of C: a
// strip of rows, as wide as the block unless that leaves too few tiles. For each piece of depth the
// strip of A lies in the second-level cache, and each panel of B passes by once: it is multiplied
// with the whole strip. Row-major A is read in place: the kernel broadcasts its elements, so their
// order matters little, and a copy would cost 3 to 8 % of the time.
#include "device/gemm_packed.hpp"

#include <algorithm>

#include "device/gemm_kernel.hpp"
#include "device/gemm_pack.hpp"
#include "isoflop/base/rounding.hpp"

namespace isoflop::device {
namespace {

constexpr std::int64_t kMaxDepth = 512;
/// Packed B stays in the last-level cache: 4 MiB at most, 1536 columns at full depth or fewer
/// columns and more depth.
constexpr std::int64_t kMaxColumns = 1536;
constexpr std::int64_t kMaxPackedFloats = 1 << 20;
/// A strip of A takes up to 192 KiB of the second-level cache.
constexpr std::int64_t kMaxStripRows = 96;
constexpr std::int64_t kMinStripRows = 48;

std::int64_t divide_up(std::int64_t a, std::int64_t b) {
    return (a + b - 1) / b;
}

/// Equal parts of at most `largest`, rounded up to multiples of `unit`.
std::int64_t balanced_part(std::int64_t total, std::int64_t largest, std::int64_t unit) {
    return round_up(divide_up(total, divide_up(total, largest)), unit);
}

/// Pieces of depth, the same for every path through this file: they are the order of summation.
std::int64_t depth_of_pieces(std::int64_t k) {
    return balanced_part(k, kMaxDepth, 4);
}

struct Product {
    const GemmShape& shape;
    float alpha;
    const float* a;
    const float* b;
    float beta;
    float* c;
    const MicroKernel& kernel;

    [[nodiscard]] PackSource source_a(std::int64_t row, std::int64_t p) const {
        const bool transposed = shape.transpose_a == Transpose::yes;
        return {.data = a + (transposed ? p * shape.lda + row : row * shape.lda + p),
                .stride = shape.lda,
                .lanes_contiguous = transposed};
    }
    [[nodiscard]] PackSource source_b(std::int64_t column, std::int64_t p) const {
        const bool transposed = shape.transpose_b == Transpose::yes;
        return {.data = b + (transposed ? column * shape.ldb + p : p * shape.ldb + column),
                .stride = shape.ldb,
                .lanes_contiguous = !transposed};
    }
    /// Beta of a piece of depth: later pieces add to what earlier ones left.
    [[nodiscard]] float beta_at(std::int64_t p) const { return p == 0 ? beta : 1.0F; }
};

class BlockedProduct {
public:
    BlockedProduct(ThreadPool* pool, const Product& product)
        : pool_(pool),
          product_(product),
          shape_(product.shape),
          kernel_(product.kernel),
          depth_(depth_of_pieces(shape_.k)),
          // Columns of a transposed A lie in as many cache lines as the product is deep. Rows at
          // distances of a power of two compete for the same few places in the cache.
          pack_a_(shape_.transpose_a == Transpose::yes || shape_.lda % 512 == 0) {}

    void run() {
        const std::int64_t columns = balanced_part(shape_.n, kMaxColumns, kernel_.columns);
        const std::int64_t pieces =
            std::max<std::int64_t>(kMaxPackedFloats / (columns * depth_), 1);
        const std::int64_t depth = depth_ * std::min(pieces, divide_up(shape_.k, depth_));
        packed_b_ = pack_buffer(PackBuffer::b, panel_floats(columns, depth, kernel_.columns));

        for (std::int64_t column = 0; column < shape_.n; column += columns) {
            for (std::int64_t p = 0; p < shape_.k; p += depth) {
                const Block block{.column = column,
                                  .columns = std::min(columns, shape_.n - column),
                                  .p = p,
                                  .depth = std::min(depth, shape_.k - p)};
                pack(block);
                multiply(block);
            }
        }
    }

private:
    /// A part of op(B) that is packed at a time.
    struct Block {
        std::int64_t column = 0;
        std::int64_t columns = 0;
        std::int64_t p = 0;
        std::int64_t depth = 0;
    };
    /// A part of C that one thread computes; columns are counted within the block.
    struct Tile {
        std::int64_t row = 0;
        std::int64_t rows = 0;
        std::int64_t column = 0;
        std::int64_t columns = 0;
    };

    template <class Run>
    void for_each(std::int64_t count, const Run& run) const {
        if (pool_ != nullptr) return pool_->parallel_for(count, run);
        for (std::int64_t i = 0; i < count; ++i) run(i);
    }

    /// Panels of the piece of depth that begins at p, counted within the block.
    [[nodiscard]] float* packed_piece(const Block& block, std::int64_t p) const {
        return packed_b_ + round_up(block.columns, kernel_.columns) * p;
    }

    void pack(const Block& block) const {
        constexpr std::int64_t kColumnsTogether = 192;
        const std::int64_t step = kColumnsTogether / kernel_.columns * kernel_.columns;
        const std::int64_t across = divide_up(block.columns, step);
        for_each(across * divide_up(block.depth, depth_), [&](std::int64_t part) {
            const std::int64_t column = part % across * step;
            const std::int64_t p = part / across * depth_;
            const std::int64_t depth = std::min(depth_, block.depth - p);
            pack_panels(packed_piece(block, p) + column * depth,
                        product_.source_b(block.column + column, block.p + p),
                        std::min(step, block.columns - column), depth, kernel_.columns);
        });
    }

    /// The size of tiles: the largest for one thread; for several threads, small enough that the
    /// last thread ends soon after the other threads. See TileArguments on why results do not
    /// depend on it.
    [[nodiscard]] Tile tile_size(const Block& block) const {
        constexpr std::int64_t kTilesPerThread = 10;
        // Every tile of a strip packs the strip again.
        const std::int64_t min_columns = pack_a_ ? 384 : 96;
        const int threads = pool_ == nullptr ? 1 : pool_->num_threads();
        const std::int64_t wanted = threads == 1 ? 1 : threads * kTilesPerThread;
        Tile size{.rows = balanced_part(shape_.m, kMaxStripRows, kernel_.rows),
                  .columns = round_up(block.columns, kernel_.columns)};
        while (divide_up(shape_.m, size.rows) * divide_up(block.columns, size.columns) < wanted) {
            const bool may_halve_columns = size.columns >= 2 * min_columns;
            if (size.rows > kMinStripRows || (size.rows > kernel_.rows && !may_halve_columns)) {
                size.rows = balanced_part(shape_.m, divide_up(size.rows, 2), kernel_.rows);
                if (size.rows == kernel_.rows && !may_halve_columns) break;
            } else if (may_halve_columns) {
                size.columns = balanced_part(block.columns, size.columns / 2, kernel_.columns);
            } else {
                break;
            }
        }
        return size;
    }

    void multiply(const Block& block) const {
        const Tile size = tile_size(block);
        // Tiles above each other follow each other: they share panels of B.
        const std::int64_t down = divide_up(shape_.m, size.rows);
        const std::int64_t across = divide_up(block.columns, size.columns);
        for_each(down * across, [&](std::int64_t index) {
            const std::int64_t row = index % down * size.rows;
            const std::int64_t column = index / down * size.columns;
            multiply_tile(block, {.row = row,
                                  .rows = std::min(size.rows, shape_.m - row),
                                  .column = column,
                                  .columns = std::min(size.columns, block.columns - column)});
        });
    }

    void multiply_tile(const Block& block, const Tile& tile) const {
        float* packed_a = nullptr;
        if (pack_a_)
            packed_a = pack_buffer(PackBuffer::a, panel_floats(tile.rows, depth_, kernel_.rows));
        for (std::int64_t p = 0; p < block.depth; p += depth_) {
            const std::int64_t depth = std::min(depth_, block.depth - p);
            const PackSource a = product_.source_a(tile.row, block.p + p);
            if (pack_a_) pack_panels(packed_a, a, tile.rows, depth, kernel_.rows);
            TileArguments arguments{.a_row_stride = pack_a_ ? 1 : a.stride,
                                    .a_step = pack_a_ ? kernel_.rows : 1,
                                    .b_step = kernel_.columns,
                                    .ldc = shape_.ldc,
                                    .depth = depth,
                                    .alpha = product_.alpha,
                                    .beta = product_.beta_at(block.p + p)};
            for (std::int64_t column = 0; column < tile.columns; column += kernel_.columns) {
                arguments.b = packed_piece(block, p) + (tile.column + column) * depth;
                arguments.columns = static_cast<int>(
                    std::min<std::int64_t>(kernel_.columns, tile.columns - column));
                float* c = product_.c + tile.row * shape_.ldc + block.column + tile.column + column;
                for (std::int64_t row = 0; row < tile.rows; row += kernel_.rows) {
                    const int rows =
                        static_cast<int>(std::min<std::int64_t>(kernel_.rows, tile.rows - row));
                    arguments.a = pack_a_ ? packed_a + row * depth : a.data + row * a.stride;
                    arguments.c = c + row * shape_.ldc;
                    kernel_.tile(rows, arguments.columns, pack_a_, true)(arguments);
                }
            }
        }
    }

    ThreadPool* pool_;
    const Product& product_;
    const GemmShape& shape_;
    const MicroKernel& kernel_;
    std::int64_t depth_;
    bool pack_a_;
    float* packed_b_ = nullptr;
};

/// Small products on one thread: operands are read in place unless B has to be transposed, or has
/// so many uses that a copy pays.
void multiply_small(const Product& product) {
    constexpr std::int64_t kMaxRowsInPlaceB = 96;
    const GemmShape& shape = product.shape;
    const MicroKernel& kernel = product.kernel;
    const bool pack_b = shape.transpose_b == Transpose::yes || shape.m > kMaxRowsInPlaceB;
    const bool a_transposed = shape.transpose_a == Transpose::yes;
    const std::int64_t max_depth = depth_of_pieces(shape.k);
    float* packed_b = pack_b ? pack_buffer(PackBuffer::b, kernel.columns * max_depth) : nullptr;

    TileArguments tile{.a_row_stride = a_transposed ? 1 : shape.lda,
                       .a_step = a_transposed ? shape.lda : 1,
                       .b_step = pack_b ? kernel.columns : shape.ldb,
                       .ldc = shape.ldc,
                       .alpha = product.alpha};
    for (std::int64_t p = 0; p < shape.k; p += max_depth) {
        tile.depth = std::min(max_depth, shape.k - p);
        tile.beta = product.beta_at(p);
        for (std::int64_t column = 0; column < shape.n; column += kernel.columns) {
            tile.columns =
                static_cast<int>(std::min<std::int64_t>(kernel.columns, shape.n - column));
            const PackSource b = product.source_b(column, p);
            if (pack_b) pack_panels(packed_b, b, tile.columns, tile.depth, kernel.columns);
            tile.b = pack_b ? packed_b : b.data;
            for (std::int64_t row = 0; row < shape.m; row += kernel.rows) {
                const int rows =
                    static_cast<int>(std::min<std::int64_t>(kernel.rows, shape.m - row));
                tile.a = product.source_a(row, p).data;
                tile.c = product.c + row * shape.ldc + column;
                kernel.tile(rows, tile.columns, false, pack_b)(tile);
            }
        }
    }
}

/// A few rows of A against rows of B: memory-bound, so B is read once, in place.
void multiply_few_rows(ThreadPool* pool, const Product& product) {
    constexpr std::int64_t kColumnsTogether = 64;
    constexpr std::int64_t kWorthThreads = 65536;
    const GemmShape& shape = product.shape;
    const auto run = [&](std::int64_t begin, std::int64_t end) {
        product.kernel.dots({.a = product.a,
                             .lda = shape.lda,
                             .b = product.b + begin * shape.ldb,
                             .ldb = shape.ldb,
                             .c = product.c + begin,
                             .ldc = shape.ldc,
                             .rows = shape.m,
                             .columns = end - begin,
                             .depth = shape.k,
                             .alpha = product.alpha,
                             .beta = product.beta});
    };
    if (pool == nullptr || shape.n * shape.k < kWorthThreads) return run(0, shape.n);
    pool->parallel_ranges(shape.n, kColumnsTogether, run);
}

}  // namespace

void multiply_own(ThreadPool* pool, const GemmShape& shape, float alpha, const float* a,
                  const float* b, float beta,
                  float* c) {  // NOLINT(readability-non-const-parameter): written through `product`
    constexpr std::int64_t kFewRows = 8;
    constexpr double kSmall = 128.0 * 128.0 * 64.0;
    const Product product{shape, alpha, a, b, beta, c, active_kernel()};
    const bool rows_by_rows =
        shape.transpose_a == Transpose::no && shape.transpose_b == Transpose::yes;
    const double products =
        static_cast<double>(shape.m) * static_cast<double>(shape.n) * static_cast<double>(shape.k);
    if (shape.m <= kFewRows && rows_by_rows) {
        multiply_few_rows(pool, product);
    } else if (products <= kSmall) {
        multiply_small(product);
    } else {
        BlockedProduct(pool, product).run();
    }
}

}  // namespace isoflop::device
