// What the elements of a buffer are; `element_dtype` (buffer_id.hpp) gives their type in an
// execution.
#pragma once

namespace isoflop::cost {

enum class ElementKind {
    storage,     ///< weights and activations
    gradient,    ///< of weights
    statistics,  ///< norm statistics, lse, moments, losses: fp32
    float32,
    token_ids,  ///< int32, which no tensor has
    bytes,      ///< no elements: scratch of libraries and communicators
};

}  // namespace isoflop::cost
