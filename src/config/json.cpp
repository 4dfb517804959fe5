#include "isoflop/config/json.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <istream>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "isoflop/base/error.hpp"
#include "isoflop/base/file.hpp"
#include "isoflop/config/quoted_text.hpp"

namespace isoflop::config {
namespace {

using nlohmann::ordered_json;

/// "[json.exception.parse_error.101] parse error at line 1, column 2: ... - invalid literal; last
/// read: '...'" without the first part, and without the last, which may be long.
std::string readable(std::string_view message) {
    if (message.starts_with('[')) message.remove_prefix(message.find(' ') + 1);
    return std::string(message.substr(0, message.find("; last read:")));
}

/// Builds the document from the events of nlohmann's reader, which itself does not recurse. Members
/// are appended without a search; an object is searched for duplicates once, when it is complete.
class DocumentBuilder {
public:
    using Object = ordered_json::object_t;
    using Array = ordered_json::array_t;
    using Take = std::function<bool(std::string_view list, const ordered_json& item)>;

    /// `take` as for parse_json_stream; may be empty.
    explicit DocumentBuilder(Take take = {}) : take_(std::move(take)) {}

    bool null() { return add(nullptr); }
    bool boolean(bool value) { return add(value); }
    bool number_integer(ordered_json::number_integer_t value) { return add(value); }
    bool number_unsigned(ordered_json::number_unsigned_t value) { return add(value); }
    bool number_float(ordered_json::number_float_t value, const std::string& /*text*/) {
        return add(value);
    }
    bool string(std::string& value) { return add(std::move(value)); }
    bool binary(ordered_json::binary_t& value) { return add(std::move(value)); }
    bool start_object(std::size_t /*size*/) { return open(ordered_json::object()); }
    bool start_array(std::size_t /*size*/) { return open(ordered_json::array()); }
    bool key(std::string& name) {
        key_ = std::move(name);
        return true;
    }
    bool end_object() {
        refuse_duplicates(stack_.back()->get_ref<Object&>());
        stack_.pop_back();
        if (take_ && stack_.size() == 2 && stack_.back()->is_array()) offer_item();
        return true;
    }
    bool end_array() {
        stack_.pop_back();
        return true;
    }
    bool parse_error(std::size_t /*position*/, const std::string& /*token*/,
                     const nlohmann::detail::exception& error) {
        throw JsonFault(readable(error.what()));
    }

    [[nodiscard]] ordered_json document() { return std::move(root_); }

private:
    template <class T>
    bool add(T&& value) {
        (void)place(ordered_json(std::forward<T>(value)));
        return true;
    }

    bool open(ordered_json container) {
        if (stack_.size() >= kDeepestJson) {
            throw JsonFault(
                fmt::format("arrays and objects are nested deeper than {} levels", kDeepestJson));
        }
        stack_.push_back(place(std::move(container)));
        return true;
    }

    /// Where the value now lies: at the end of the innermost container, which does not grow while
    /// the value itself is open.
    ordered_json* place(ordered_json value) {
        if (stack_.empty()) {
            root_ = std::move(value);
            return &root_;
        }
        if (stack_.back()->is_array()) {
            Array& elements = stack_.back()->get_ref<Array&>();
            elements.push_back(std::move(value));
            return &elements.back();
        }
        Object::Container& members = stack_.back()->get_ref<Object&>();
        members.emplace_back(std::move(key_), std::move(value));
        return &members.back().second;
    }

    /// The object that has just been completed in a list of the outermost object.
    void offer_item() {
        if (!root_.is_object()) return;
        const Object::Container& members = root_.get_ref<Object&>();
        Array& items = stack_.back()->get_ref<Array&>();
        if (take_(members.back().first, items.back())) items.pop_back();
    }

    static void refuse_duplicates(const Object& members) {
        std::vector<std::string_view> keys;
        keys.reserve(members.size());
        for (const auto& member : members) keys.emplace_back(member.first);
        std::sort(keys.begin(), keys.end());
        const auto duplicate = std::adjacent_find(keys.begin(), keys.end());
        if (duplicate != keys.end())
            throw JsonFault(fmt::format("it has '{}' twice", shortened(*duplicate)));
    }

    Take take_;
    ordered_json root_;
    std::vector<ordered_json*> stack_;  ///< open containers, from the root
    std::string key_;                   ///< of the next member
};

}  // namespace

ordered_json parse_json(std::string_view text) {
    DocumentBuilder builder;
    (void)ordered_json::sax_parse(text.begin(), text.end(), &builder);
    return builder.document();
}

ordered_json parse_json_stream(
    std::istream& stream,
    const std::function<bool(std::string_view list, const ordered_json& item)>& take) {
    DocumentBuilder builder(take);
    (void)ordered_json::sax_parse(stream, &builder);
    return builder.document();
}

ordered_json parse_json(std::string_view text, std::string_view name) {
    try {
        return parse_json(text);
    } catch (const JsonFault& fault) {
        throw IoError(fmt::format("'{}' is damaged: {}", name, fault.what()));
    }
}

std::optional<ordered_json> try_parse_json(std::string_view text) {
    try {
        return parse_json(text);
    } catch (const JsonFault&) {
        return std::nullopt;
    }
}

ordered_json read_json_file(const std::filesystem::path& path, std::uint64_t max_bytes) {
    return parse_json(read_text_file(path, max_bytes), path.string());
}

void rethrow_as_damaged(std::string_view name) {
    try {
        throw;
    } catch (const ordered_json::exception& error) {
        throw IoError(fmt::format("'{}' is damaged: {}", name, readable(error.what())));
    }
}

std::int64_t count_at(const ordered_json& object, std::string_view key, std::string_view name) {
    constexpr std::uint64_t kMost = std::uint64_t{1} << 62U;
    const auto found = object.is_object() ? object.find(std::string(key)) : object.end();
    if (found == object.end()) throw IoError(fmt::format("'{}' is damaged: no '{}'", name, key));
    if (!found->is_number_unsigned() || found->get<std::uint64_t>() > kMost) {
        throw IoError(fmt::format("'{}' is damaged: '{}' is {}, which is no count", name, key,
                                  shortened(found->dump())));
    }
    return found->get<std::int64_t>();
}

}  // namespace isoflop::config
