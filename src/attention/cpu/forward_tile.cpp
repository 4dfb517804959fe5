#include "attention/cpu/forward_tile.hpp"

#include <cmath>
#include <cstring>
#include <limits>

#include "attention/cpu/visible_products.hpp"

namespace isoflop::attention {

template <class T>
ForwardTile<T>::ForwardTile(const TileKernels<T>& kernels, const Shape& shape, Scratch& scratch)
    : kernels_(kernels),
      shape_(shape),
      q_transposed_(scratch.take<T>(shape.head_dim * kQueryTile)),
      o_transposed_(scratch.take<T>(shape.head_dim * kQueryTile)),
      scores_(scratch.take<T>(kKeyTile * kQueryTile)),
      maxima_(scratch.take<T>(kQueryTile)),
      sums_(scratch.take<T>(kQueryTile)),
      rescale_(scratch.take<T>(kQueryTile)),
      mask_(scratch) {}

template <class T>
std::int64_t ForwardTile<T>::scratch_bytes(std::int64_t head_dim) {
    return 2 * Scratch::size<T>(head_dim * kQueryTile) + Scratch::size<T>(kKeyTile * kQueryTile) +
           3 * Scratch::size<T>(kQueryTile) + TileMask<T>::scratch_bytes();
}

template <class T>
void ForwardTile<T>::start(const HeadRows<T>& q, std::int64_t first_query) {
    first_query_ = first_query;
    queries_ = std::min(kQueryTile, shape_.query_length - first_query);
    lanes_ = round_up(queries_, kernels_.lanes);
    const std::int64_t tile = shape_.head_dim * kQueryTile;
    if (queries_ < lanes_) std::fill_n(q_transposed_, tile, T(0));
    kernels_.transpose(queries_, shape_.head_dim, q.row(first_query), q.stride,
                       static_cast<T>(shape_.scale) * kLog2E<T>, q_transposed_, kQueryTile);
    std::fill_n(o_transposed_, tile, T(0));
    std::fill_n(maxima_, kQueryTile, -std::numeric_limits<T>::infinity());
    std::fill_n(sums_, kQueryTile, T(0));
}

template <class T>
void ForwardTile<T>::restore(const HeadRows<T>& o, const T* maxima, const T* sums) {
    kernels_.transpose(queries_, shape_.head_dim, o.row(first_query_), o.stride, T(1),
                       o_transposed_, kQueryTile);
    std::copy_n(maxima, queries_, maxima_);
    std::copy_n(sums, queries_, sums_);
}

template <class T>
void ForwardTile<T>::attend(const HeadRows<T>& k, const HeadRows<T>& v, std::int64_t first_key,
                            std::int64_t keys) {
    const std::int64_t end = first_key + keys;
    for (std::int64_t key = first_key; key < end; key += kKeyTile) {
        attend_tile(k, v, key, std::min(kKeyTile, end - key));
    }
}

template <class T>
void ForwardTile<T>::attend_tile(const HeadRows<T>& k, const HeadRows<T>& v, std::int64_t first_key,
                                 std::int64_t keys) {
    kernels_.product({.rows = keys,
                      .lanes = lanes_,
                      .depth = shape_.head_dim,
                      .a = k.row(first_key),
                      .row_stride = k.stride,
                      .depth_stride = 1,
                      .b = q_transposed_,
                      .b_stride = kQueryTile,
                      .c = scores_,
                      .c_stride = kQueryTile});
    issued_.scores += multiply_adds(keys, queries_, shape_.head_dim);
    if (shape_.soft_cap > 0) {
        const T cap = static_cast<T>(shape_.soft_cap) * kLog2E<T>;
        for (std::int64_t key = 0; key < keys; ++key)
            cap_scores(lanes_, cap, scores_ + key * kQueryTile);
    }
    mask_.set(shape_, first_query_, lanes_, first_key, keys);
    if (mask_.masked()) {
        kernels_.mask_keys(mask_.seen_by_all(), keys, lanes_, mask_.limits(), scores_);
        kernels_.fill_before(mask_.unseen_by_some(), lanes_, mask_.starts(),
                             -std::numeric_limits<T>::infinity(), scores_);
    }
    if (kernels_.online_softmax(keys, lanes_, scores_, maxima_, sums_, rescale_)) {
        kernels_.scale_lanes(shape_.head_dim, lanes_, rescale_, o_transposed_);
    }
    if (mask_.masked() && !kernels_.all_finite(keys, shape_.head_dim, v.row(first_key), v.stride)) {
        issued_.values += add_visible_keys(keys, queries_, shape_.head_dim, mask_.visible(),
                                           scores_, v.row(first_key), v.stride, o_transposed_);
        return;
    }
    kernels_.product({.rows = shape_.head_dim,
                      .lanes = lanes_,
                      .depth = keys,
                      .a = v.row(first_key),
                      .row_stride = 1,
                      .depth_stride = v.stride,
                      .b = scores_,
                      .b_stride = kQueryTile,
                      .c = o_transposed_,
                      .c_stride = kQueryTile,
                      .accumulate = true});
    issued_.values += multiply_adds(shape_.head_dim, queries_, keys);
}

template <class T>
void ForwardTile<T>::save(const HeadRows<T>& o, T* maxima, T* sums) const {
    kernels_.transpose(shape_.head_dim, queries_, o_transposed_, kQueryTile, T(1),
                       o.row(first_query_), o.stride);
    std::copy_n(maxima_, queries_, maxima);
    std::copy_n(sums_, queries_, sums);
}

template <class T>
void ForwardTile<T>::finish(const HeadRows<T>& o, T* lse) {
    std::fill_n(rescale_, kQueryTile, T(0));
    for (std::int64_t lane = 0; lane < queries_; ++lane) {
        const bool sees_keys = key_limit(shape_, first_query_ + lane) > 0;
        rescale_[lane] = sees_keys ? T(1) / sums_[lane] : T(0);
        lse[lane] = sees_keys ? (maxima_[lane] + std::log2(sums_[lane])) * kLn2<T>
                              : std::numeric_limits<T>::infinity();
    }
    kernels_.scale_lanes(shape_.head_dim, lanes_, rescale_, o_transposed_);
    kernels_.transpose(shape_.head_dim, queries_, o_transposed_, kQueryTile, T(1),
                       o.row(first_query_), o.stride);
}

template class ForwardTile<float>;
template class ForwardTile<double>;

}  // namespace isoflop::attention
