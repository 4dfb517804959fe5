#include "isoflop/optimizer/optimizer.hpp"

namespace isoflop::optimizer {

std::int64_t StateView::place_of(std::uint64_t element) const {
    if (covered == nullptr) return static_cast<std::int64_t>(element - first);
    return static_cast<std::int64_t>(covered->before(element) - covered->before(first));
}

TensorView StateView::of(const cost::TensorPart& part) const {
    if (values.empty() || !description->covers(part.tensor->spec)) return {};
    return values.flat_range(place_of(part.tensor->offset + static_cast<std::uint64_t>(part.first)),
                             part.count);
}

TensorView StateView::of(const cost::StateTensor& tensor) const {
    return of({.tensor = &tensor, .count = tensor.spec.elements()});
}

StateView StateView::interval(std::uint64_t begin, std::int64_t count) const {
    StateView part{description, {}, begin, covered};
    const std::int64_t from = place_of(begin);
    const std::int64_t to = place_of(begin + static_cast<std::uint64_t>(count));
    if (to > from) part.values = values.flat_range(from, to - from);
    return part;
}

}  // namespace isoflop::optimizer
