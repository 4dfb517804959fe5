#include "simt_emulator/sites.hpp"

#include <limits>
#include <stdexcept>
#include <string_view>

namespace isoflop::emulator {

Site Sites::find_or_add(const simt::Location& where) {
    for (std::size_t site = 0; site < places_.size(); ++site) {
        if (same(places_[site], where)) return static_cast<Site>(site);
    }
    if (places_.size() > std::numeric_limits<Site>::max()) {
        throw std::length_error("more places in kernels than the emulator can number");
    }
    places_.push_back(where);
    return static_cast<Site>(places_.size() - 1);
}

std::string Sites::text(Site site) const {
    const simt::Location& where = places_[site];
    std::string_view file = where.file_name();
    file.remove_prefix(file.rfind('/') + 1);  // npos + 1 is 0
    return std::string(file) + ":" + std::to_string(where.line()) + ":" +
           std::to_string(where.column());
}

}  // namespace isoflop::emulator
