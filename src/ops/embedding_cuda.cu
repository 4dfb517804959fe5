// Embedding on a GPU. Backward adds the gradients of equal tokens in order of their positions,
// without atomics:
//   1. Keys (token, position) are sorted; sort_cuda.hpp.
//   2. The sorted keys are cut into windows. Each window sums the rows of its runs of equal tokens.
//      A run inside one window is added to the gradient at once; of a run over several windows,
//      each leaves a partial sum.
//   3. The partial sums of such a run are added in order. So a token that makes up most of a batch
//      is summed by as many warps as any other tokens.
#include "isoflop/ops/embedding.hpp"

#include <algorithm>
#include <bit>

#include "isoflop/ops/cuda/elements.hpp"
#include "ops/cuda_grid.hpp"
#include "ops/cuda_sort.hpp"
#include "ops/embedding_cuda.hpp"

namespace isoflop::ops::cuda {
namespace {

constexpr int kWarps = kBlockThreads / simt::warp_lanes;

/// Columns that a warp takes at once, `width` neighbours per lane.
template <int width>
inline constexpr std::int64_t kTile = simt::warp_lanes* width;

// ---- Forward

/// One warp per row.
template <class T, int width>
SIMT_KERNEL void gather_rows(simt::Global<T> out, simt::Global<const std::int32_t> tokens,
                             simt::Global<const T> table, simt::Global<const T> positions,
                             std::int64_t rows, std::int64_t columns, std::int64_t sequence_length,
                             std::int64_t first_position) {
    const std::int64_t step = static_cast<std::int64_t>(simt::grid_size().x) * kWarps;
    for (std::int64_t row = simt::block_index().x * std::int64_t{kWarps} + simt::warp_index();
         row < rows; row += step) {
        const auto from = table + simt::load(tokens + row) * columns;
        const auto position =
            positions + (first_position + row % sequence_length) * columns;  // if there are any
        const auto to = out + row * columns;
        for (std::int64_t i = simt::lane_index() * width; i < columns; i += kTile<width>) {
            Pack<T, width> values = load_pack<width>(from + i);
            if (positions) {
                values = map_packs<T, width>([](float a, float b) { return a + b; }, values,
                                             load_pack<width>(position + i));
            }
            store_pack(to + i, values);
        }
    }
}

// ---- Backward

/// The batch as its windows see it.
struct Windows {
    std::int64_t tokens;  ///< sorted keys
    std::int64_t columns;
    std::int64_t window;  ///< keys per window, a multiple of warp_lanes
    std::int64_t count;
};

/// Beyond the last token; no token is as large.
constexpr std::uint64_t kNoToken = ~std::uint64_t{0};

SIMT_DEVICE std::uint32_t token_of(std::uint64_t key) {
    return static_cast<std::uint32_t>(key >> 32U);
}

/// Partial sums [2, windows, columns]: of the run that goes on from the window before, and of the
/// one that begins here and goes on in the next.
SIMT_DEVICE simt::Global<float> partial_row(simt::Global<float> partials, const Windows& windows,
                                            bool begins_here, std::int64_t window) {
    return partials + ((begins_here ? windows.count : 0) + window) * windows.columns;
}

template <int width>
struct Sums {
    float values[static_cast<std::size_t>(width)];
};

template <int width>
SIMT_DEVICE void store_sums(simt::Global<float> row, const Sums<width>& sums) {
    constexpr int part_width = width < 4 ? width : 4;
    for (int i = 0; i < width; i += part_width) {
        Pack<float, part_width> part;
        for (int k = 0; k < part_width; ++k) part.values[k] = sums.values[i + k];
        store_pack(row + i, part);
    }
}

template <int width>
SIMT_DEVICE void add_sums(Sums<width>& sums, simt::Global<const float> row) {
    constexpr int part_width = width < 4 ? width : 4;
    for (int i = 0; i < width; i += part_width) {
        const Pack<float, part_width> part = load_pack<part_width>(row + i);
        for (int k = 0; k < part_width; ++k) sums.values[i + k] += part.values[k];
    }
}

template <class T, int width>
SIMT_DEVICE void add_to_gradient(simt::Global<T> gradient, const Sums<width>& sums) {
    Pack<T, width> pack = load_pack<width>(gradient);
    for (int i = 0; i < width; ++i) {
        pack.values[i] = simt::round_to<T>(simt::to_float(pack.values[i]) + sums.values[i]);
    }
    store_pack(gradient, pack);
}

/// Grid: windows, tiles of columns by kWarps; each warp has one window and one tile.
template <class T, int width>
SIMT_KERNEL void sum_windows(simt::Global<T> d_table, simt::Global<float> partials,
                             simt::Global<const std::uint64_t> keys, simt::Global<const T> d_out,
                             Windows windows) {
    const std::int64_t tile =
        static_cast<std::int64_t>(simt::block_index().y) * kWarps + simt::warp_index();
    const std::int64_t column = tile * kTile<width> + simt::lane_index() * width;
    if (tile * kTile<width> >= windows.columns) return;
    const bool has_column = column < windows.columns;
    const std::int64_t window = simt::block_index().x;
    const std::int64_t begin = window * windows.window;
    const std::int64_t end =
        begin + windows.window < windows.tokens ? begin + windows.window : windows.tokens;
    const bool continues =
        begin > 0 && token_of(simt::load(keys + (begin - 1))) == token_of(simt::load(keys + begin));
    Sums<width> sums{};
    bool begins_here = !continues;
    for (std::int64_t chunk = begin; chunk < end; chunk += simt::warp_lanes) {
        const std::int64_t mine = chunk + simt::lane_index();
        const std::uint64_t my_key = mine < end ? simt::load(keys + mine) : kNoToken;
        const std::uint64_t next_key =
            mine + 1 < windows.tokens && mine < end ? simt::load(keys + (mine + 1)) : kNoToken;
        const std::uint32_t ends = simt::ballot(token_of(my_key) != token_of(next_key));
        for (int i = 0; i < simt::warp_lanes && chunk + i < end; ++i) {
            const std::uint64_t key = simt::shuffle(my_key, i);
            if (has_column) {
                const auto row = static_cast<std::int64_t>(key & 0xFFFF'FFFFU);
                const Pack<T, width> values =
                    load_pack<width>(d_out + (row * windows.columns + column));
                for (int k = 0; k < width; ++k) sums.values[k] += simt::to_float(values.values[k]);
            }
            const bool ends_run = (ends >> i & 1U) != 0;
            if (!ends_run && chunk + i + 1 < end) continue;
            if (has_column && begins_here && ends_run) {
                add_to_gradient<T, width>(
                    d_table + (std::int64_t{token_of(key)} * windows.columns + column), sums);
            } else if (has_column) {
                store_sums<width>(partial_row(partials, windows, begins_here, window) + column,
                                  sums);
            }
            sums = {};
            begins_here = true;
        }
    }
}

/// Grid as above. The warp of the window in which a longer run begins adds the partial sums.
template <class T, int width>
SIMT_KERNEL void add_long_runs(simt::Global<T> d_table, simt::Global<float> partials,
                               simt::Global<const std::uint64_t> keys, Windows windows) {
    const std::int64_t tile =
        static_cast<std::int64_t>(simt::block_index().y) * kWarps + simt::warp_index();
    const std::int64_t column = tile * kTile<width> + simt::lane_index() * width;
    if (column >= windows.columns) return;
    const std::int64_t window = simt::block_index().x;
    const std::int64_t begin = window * windows.window;
    const std::int64_t next = begin + windows.window;
    if (next >= windows.tokens) return;
    const std::uint32_t token = token_of(simt::load(keys + (next - 1)));
    const auto is_token = [&](std::int64_t place) {
        return token_of(simt::load(keys + place)) == token;
    };
    const bool goes_on = is_token(next);
    const bool comes_from_before = begin > 0 && is_token(begin - 1);
    if (!goes_on || comes_from_before) return;
    Sums<width> sums{};
    add_sums<width>(sums, partial_row(partials, windows, true, window) + column);
    for (std::int64_t i = window + 1; i < windows.count && is_token(i * windows.window); ++i) {
        add_sums<width>(sums, partial_row(partials, windows, false, i) + column);
    }
    add_to_gradient<T, width>(d_table + (std::int64_t{token} * windows.columns + column), sums);
}

/// d_positions[s] += the sum over sequences of d_out[.., s], in order.
template <class T, int width>
SIMT_KERNEL void add_positions(simt::Global<T> d_positions, simt::Global<const T> d_out,
                               std::int64_t rows, std::int64_t columns,
                               std::int64_t sequence_length) {
    const std::int64_t packs = columns / width;
    const std::int64_t positions = sequence_length < rows ? sequence_length : rows;
    for (std::int64_t i = grid_thread(); i < positions * packs; i += grid_threads()) {
        const std::int64_t column = i % packs * width;
        Sums<width> sums{};
        for (std::int64_t row = i / packs; row < rows; row += sequence_length) {
            const Pack<T, width> values = load_pack<width>(d_out + (row * columns + column));
            for (int k = 0; k < width; ++k) sums.values[k] += simt::to_float(values.values[k]);
        }
        add_to_gradient<T, width>(d_positions + (i / packs * columns + column), sums);
    }
}

constexpr std::int64_t kShortestWindow = 64;
constexpr std::int64_t kLongestWindow = 256;

constexpr auto kKeyBytes = static_cast<std::int64_t>(sizeof(std::uint64_t));

[[nodiscard]] std::int64_t partial_bytes_of_window(std::int64_t columns) {
    return 2 * columns * static_cast<std::int64_t>(sizeof(float));
}

/// Tokens whose keys and partial sums fit into scratch memory; more are summed part by part, each
/// part added (and rounded) on its own. 64 MiB: 2^20 tokens, fewer where a row is wider than 1792.
[[nodiscard]] std::int64_t tokens_per_part(std::int64_t columns, std::int64_t scratch_bytes) {
    const auto most = static_cast<std::int64_t>(
        std::bit_floor(static_cast<std::uint64_t>(scratch_bytes / (8 * kKeyBytes))));
    const std::int64_t windows =
        (scratch_bytes - most * kKeyBytes) / partial_bytes_of_window(columns);
    return std::clamp(windows * kLongestWindow, kLongestWindow, std::max(most, kLongestWindow));
}

/// As short as scratch memory allows, for parallelism.
[[nodiscard]] Windows windows_of(std::int64_t tokens, std::int64_t columns,
                                 std::int64_t partial_bytes) {
    Windows windows{.tokens = tokens, .columns = columns, .window = kShortestWindow, .count = 0};
    for (;; windows.window *= 2) {
        windows.count = (tokens + windows.window - 1) / windows.window;
        const bool fits = windows.count * partial_bytes_of_window(columns) <= partial_bytes;
        if (fits || windows.window >= kLongestWindow) return windows;
    }
}

template <class T, int width>
void add_rows(Context& context, std::span<const std::int32_t> tokens, const T* d_out, T* d_table,
              std::int64_t columns, std::int64_t scratch_bytes) {
    const auto count = static_cast<std::int64_t>(tokens.size());
    std::byte* const scratch = context.device.scratch();
    auto* const keys = reinterpret_cast<std::uint64_t*>(scratch);
    const std::int64_t sorted = sort_by_token(context, tokens, keys);
    auto* const partials = reinterpret_cast<float*>(keys + sorted);
    const Windows windows = windows_of(count, columns, scratch_bytes - sorted * kKeyBytes);
    const std::int64_t tiles = (columns + kTile<width> - 1) / kTile<width>;
    const simt::Dim3 grid{static_cast<int>(windows.count),
                          static_cast<int>((tiles + kWarps - 1) / kWarps)};
    simt::launch({.name = "sum_windows",
                  .grid = grid,
                  .block = {kBlockThreads},
                  .stream = stream_of(context)},
                 sum_windows<T, width>, d_table, partials, keys, d_out, windows);
    if (windows.count == 1) return;
    simt::launch({.name = "add_long_runs",
                  .grid = grid,
                  .block = {kBlockThreads},
                  .stream = stream_of(context)},
                 add_long_runs<T, width>, d_table, partials, keys, windows);
}

template <class T, int width>
void backward(Context& context, std::span<const std::int32_t> tokens, const TensorView& d_out,
              std::int64_t sequence_length, const TensorView& d_table,
              const TensorView& d_positions, std::int64_t scratch_bytes) {
    const std::int64_t columns = d_out.dim(1);
    const T* const gradients = data<T>(d_out);
    const std::int64_t rows = d_out.dim(0);
    const std::int64_t part = tokens_per_part(columns, scratch_bytes);
    for (std::int64_t first = 0; first < rows; first += part) {
        const std::int64_t count = std::min(part, rows - first);
        add_rows<T, width>(
            context,
            tokens.subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(count)),
            gradients + first * columns, data<T>(d_table), columns, scratch_bytes);
    }
    if (d_positions.empty()) return;
    const std::int64_t packs = std::min(rows, sequence_length) * (columns / width);
    simt::launch({.name = "add_positions",
                  .grid = {blocks_for(packs, kBlockThreads)},
                  .block = {kBlockThreads},
                  .stream = stream_of(context)},
                 add_positions<T, width>, data<T>(d_positions), gradients, rows, columns,
                 sequence_length);
}

/// Calls run with the element type and the number of neighbours that each thread can take, as
/// integral constant.
template <class Run>
void visit_rows(const TensorView& a, const TensorView& b, const TensorView& c, const Run& run) {
    visit_storage(a.dtype(), [&](auto zero) {
        using T = decltype(zero);
        const std::int64_t columns = a.dim(1);
        const auto fits = [&](const TensorView& tensor) {
            return is_vectorizable(data<T>(tensor), columns);
        };
        if (fits(a) && fits(b) && fits(c)) {
            run(zero, std::integral_constant<int, kPackWidth<T>>{});
        } else {
            run(zero, std::integral_constant<int, 1>{});
        }
    });
}

}  // namespace

void embedding_forward(Context& context, std::span<const std::int32_t> tokens,
                       const TensorView& table, const TensorView& positions,
                       std::int64_t sequence_length, std::int64_t first_position,
                       const TensorView& out) {
    if (out.size() == 0) return;
    visit_rows(out, table, positions, [&](auto zero, auto width) {
        using T = decltype(zero);
        simt::launch({.name = "gather_rows",
                      .grid = {blocks_for(out.dim(0), kWarps)},
                      .block = {kBlockThreads},
                      .stream = stream_of(context)},
                     gather_rows<T, width.value>, data<T>(out), tokens.data(), data<T>(table),
                     data<T>(positions), out.dim(0), out.dim(1), sequence_length, first_position);
    });
}

void embedding_backward_within(Context& context, std::int64_t scratch_bytes,
                               std::span<const std::int32_t> tokens, const TensorView& d_out,
                               std::int64_t sequence_length, const TensorView& d_table,
                               const TensorView& d_positions) {
    if (d_out.size() == 0) return;
    visit_rows(d_out, d_table, d_positions, [&](auto zero, auto width) {
        backward<decltype(zero), width.value>(context, tokens, d_out, sequence_length, d_table,
                                              d_positions, scratch_bytes);
    });
}

void embedding_backward(Context& context, std::span<const std::int32_t> tokens,
                        const TensorView& d_out, std::int64_t sequence_length,
                        const TensorView& d_table, const TensorView& d_positions) {
    embedding_backward_within(context, static_cast<std::int64_t>(device::kScratchBytes), tokens,
                              d_out, sequence_length, d_table, d_positions);
}

}  // namespace isoflop::ops::cuda
