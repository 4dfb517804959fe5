// Sums over the rows of a matrix, as parameter gradients need them: rows are cut into chunks by
// their number alone, each chunk has its own partial sums, and the partials are added in chunk
// order. So any number of threads gives the same bits.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>

#include "ops/vectorize.hpp"

namespace isoflop::ops {

struct RowChunks {
    std::int64_t rows = 0;
    std::int64_t rows_per_chunk = 1;

    /// At most 64 chunks keep the partial sums small beside the matrix, and at least 16 rows make
    /// a chunk worth its partial sums.
    explicit RowChunks(std::int64_t row_count)
        : rows(row_count), rows_per_chunk(std::max<std::int64_t>(16, (row_count + 63) / 64)) {}

    [[nodiscard]] std::int64_t count() const {
        return (rows + rows_per_chunk - 1) / rows_per_chunk;
    }
    [[nodiscard]] std::int64_t begin(std::int64_t chunk) const { return chunk * rows_per_chunk; }
    [[nodiscard]] std::int64_t end(std::int64_t chunk) const {
        return std::min(rows, begin(chunk) + rows_per_chunk);
    }
};

/// Sums of `width` columns: body(row, sums) adds one row to the sums of its chunk. Returns the
/// partial sums [chunks, width], which live in the workspace until its next use.
template <class T, class Body>
[[nodiscard]] std::span<const T> partial_row_sums(device::Context& context, std::int64_t rows,
                                                  std::int64_t width, const Body& body) {
    const RowChunks chunks(rows);
    const std::span<T> partials =
        context.workspace.get<T>(static_cast<std::size_t>(chunks.count() * width));
    context.pool.parallel_for(chunks.count(), [&](std::int64_t chunk) {
        run_vectorized([&] {
            T* const sums = partials.data() + chunk * width;
            std::fill_n(sums, width, T(0));
            for (std::int64_t row = chunks.begin(chunk); row < chunks.end(chunk); ++row) {
                body(row, sums);
            }
        });
    });
    return partials;
}

/// destination[i] += sum over chunks of partials[chunk, first_column + i], in chunk order.
template <class T>
void add_partial_sums(device::Context& context, std::span<const T> partials, std::int64_t width,
                      std::int64_t first_column, std::span<T> destination) {
    constexpr std::int64_t kColumns = 256;
    const std::int64_t chunks = std::ssize(partials) / width;
    vectorized_ranges(
        context, std::ssize(destination), kColumns, [&](std::int64_t begin, std::int64_t end) {
            T totals[kColumns] = {};
            const std::int64_t count = end - begin;
            for (std::int64_t chunk = 0; chunk < chunks; ++chunk) {
                const T* const part = partials.data() + chunk * width + first_column + begin;
                for_each_independent(count, [&](std::int64_t i) { totals[i] += part[i]; });
            }
            T* const target = destination.data() + begin;
            for_each_independent(count, [&](std::int64_t i) { target[i] += totals[i]; });
        });
}

}  // namespace isoflop::ops
