#include "isoflop/comm/communicator.hpp"

namespace isoflop::comm {

std::string_view to_string(CollectiveKind kind) {
    switch (kind) {
        case CollectiveKind::all_reduce: return "all_reduce";
        case CollectiveKind::reduce_scatter: return "reduce_scatter";
        case CollectiveKind::all_gather: return "all_gather";
        case CollectiveKind::values: return "values";
    }
    return "?";
}

}  // namespace isoflop::comm
