// Whether a member of an object is among the keys that reading it found to be unknown. Internal to
// the layer.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <unordered_set>

namespace isoflop::model {

class UnknownKeys {
public:
    /// `paths`: "key" or "section.key", where a key may itself have dots. They must outlive this.
    explicit UnknownKeys(std::span<const std::string> paths) {
        for (std::string_view path : paths) {
            names_.insert(path);
            for (std::size_t dot = path.find('.'); dot != std::string_view::npos;
                 dot = path.find('.', dot + 1)) {
                names_.insert(path.substr(dot + 1));
            }
        }
    }
    [[nodiscard]] bool contains(std::string_view key) const { return names_.contains(key); }

private:
    std::unordered_set<std::string_view> names_;
};

}  // namespace isoflop::model
