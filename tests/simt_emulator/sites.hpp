// Source locations as small numbers, so that a record of an access has room for one.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "simt_emulator/location.hpp"

namespace isoflop::emulator {

using Site = std::uint16_t;

class Sites {
public:
    Site intern(const simt::Location& where) {
        const std::size_t slot = (where.line() * 31U + where.column()) % cache_.size();
        const Site cached = cache_[slot];
        if (cached < places_.size() && same(places_[cached], where)) return cached;
        return cache_[slot] = find_or_add(where);
    }
    [[nodiscard]] const simt::Location& operator[](Site site) const { return places_[site]; }
    /// file:line:column
    [[nodiscard]] std::string text(Site site) const;

private:
    // Names of files are string literals; equal pointers are the usual case, but one file may have
    // several.
    static bool same(const simt::Location& a, const simt::Location& b) {
        return a.line() == b.line() && a.column() == b.column() && a.file_name() == b.file_name();
    }
    Site find_or_add(const simt::Location& where);

    std::vector<simt::Location> places_;
    std::array<Site, 1024> cache_{};
};

}  // namespace isoflop::emulator
