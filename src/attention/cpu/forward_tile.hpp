// Forward of one tile of queries of one head, shared by the fused backends: load the queries,
// attend to ranges of keys in any order of calls, store outputs and lse. State between ranges:
// unnormalised O^T, maximum and sum per query.
#pragma once

#include "attention/arguments.hpp"
#include "attention/cpu/tile_kernels.hpp"
#include "attention/cpu/tile_mask.hpp"
#include "attention/issued_products.hpp"

namespace isoflop::attention {

template <class T>
class ForwardTile {
public:
    /// Takes its memory from `scratch`, which must hold scratch_bytes(head_dim).
    ForwardTile(const TileKernels<T>& kernels, const Shape& shape, Scratch& scratch);
    [[nodiscard]] static std::int64_t scratch_bytes(std::int64_t head_dim);

    /// Starts the tile of queries at `first_query` with no key seen: O = 0, maximum = -inf, sum =
    /// 0.
    void start(const HeadRows<T>& q, std::int64_t first_query);
    /// Continues with a state that save() kept.
    void restore(const HeadRows<T>& o, const T* maxima, const T* sums);

    /// Attends to keys [first_key, first_key + keys).
    void attend(const HeadRows<T>& k, const HeadRows<T>& v, std::int64_t first_key,
                std::int64_t keys);

    void save(const HeadRows<T>& o, T* maxima, T* sums) const;
    /// Writes o and the natural logarithm lse of the tile's rows.
    void finish(const HeadRows<T>& o, T* lse);

    [[nodiscard]] std::int64_t queries() const { return queries_; }
    /// Since construction, of all tiles.
    [[nodiscard]] const ProductCount& issued() const { return issued_; }

private:
    void attend_tile(const HeadRows<T>& k, const HeadRows<T>& v, std::int64_t first_key,
                     std::int64_t keys);

    const TileKernels<T>& kernels_;
    const Shape& shape_;
    std::int64_t first_query_ = 0;
    std::int64_t queries_ = 0;
    std::int64_t lanes_ = 0;  ///< queries, padded to whole vectors; the padding computes on zeros
    T* q_transposed_;         ///< [head_dim][kQueryTile], times scale and log2(e)
    T* o_transposed_;         ///< [head_dim][kQueryTile], not normalised
    T* scores_;               ///< [kKeyTile][kQueryTile]
    T* maxima_;
    T* sums_;
    T* rescale_;
    TileMask<T> mask_;
    ProductCount issued_;
};

extern template class ForwardTile<float>;
extern template class ForwardTile<double>;

}  // namespace isoflop::attention
