#include "safetensors_header.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>
#include <stdexcept>

#include "isoflop/base/error.hpp"
#include "isoflop/config/json.hpp"

namespace isoflop::checkpoint {
namespace {

using json = nlohmann::ordered_json;

constexpr std::string_view kMetadataKey = "__metadata__";
constexpr std::uint64_t kMaxSize = std::uint64_t{1} << 62U;

[[noreturn]] void refuse(const std::filesystem::path& path, const std::string& what) {
    throw IoError(fmt::format("'{}' is not a valid safetensors file: {}", path.string(), what));
}

json parse_json(std::string_view text, const std::filesystem::path& path) {
    try {
        json header = config::parse_json(text);
        if (!header.is_object()) refuse(path, "its header is not a JSON object");
        return header;
    } catch (const config::JsonFault& fault) {
        refuse(path, fmt::format("its header is not JSON as it should be ({})", fault.what()));
    }
}

Metadata parse_metadata(const json& object, const std::filesystem::path& path) {
    if (!object.is_object()) refuse(path, "__metadata__ is not an object");
    Metadata metadata;
    for (const auto& [key, value] : object.items()) {
        if (!value.is_string()) refuse(path, fmt::format("__metadata__ '{}' is not a string", key));
        metadata.emplace(key, value.get<std::string>());
    }
    return metadata;
}

std::uint64_t parse_size(const json& value, const std::string& name, std::string_view what,
                         const std::filesystem::path& path) {
    if (value.is_number_unsigned() && value.get<std::uint64_t>() <= kMaxSize)
        return value.get<std::uint64_t>();
    refuse(path,
           fmt::format("{} of tensor '{}' is {}, which is not a size", what, name, value.dump()));
}

TensorEntry parse_tensor(const std::string& name, const json& object,
                         const std::filesystem::path& path) {
    const auto member = [&](const char* key) -> const json& {
        const auto found = object.find(key);
        if (found == object.end()) refuse(path, fmt::format("tensor '{}' has no '{}'", name, key));
        return *found;
    };
    if (!object.is_object())
        refuse(path, fmt::format("the entry of tensor '{}' is not an object", name));
    TensorEntry tensor;
    tensor.name = name;
    const json& type = member("dtype");
    const auto known =
        type.is_string() ? from_string<ElementType>(type.get<std::string>()) : std::nullopt;
    if (!known)
        refuse(path, fmt::format("tensor '{}' has the unknown dtype {}", name, type.dump()));
    tensor.type = *known;
    const json& shape = member("shape");
    if (!shape.is_array()) refuse(path, fmt::format("shape of tensor '{}' is not a list", name));
    for (const json& extent : shape) {
        tensor.shape.push_back(static_cast<std::int64_t>(parse_size(extent, name, "shape", path)));
    }
    const json& offsets = member("data_offsets");
    if (!offsets.is_array() || offsets.size() != 2) {
        refuse(path, fmt::format("data_offsets of tensor '{}' is not a pair", name));
    }
    tensor.begin = parse_size(offsets[0], name, "data_offsets", path);
    tensor.end = parse_size(offsets[1], name, "data_offsets", path);
    return tensor;
}

void check_size(const TensorEntry& tensor, std::uint64_t data_bytes,
                const std::filesystem::path& path) {
    if (tensor.begin > tensor.end || tensor.end > data_bytes) {
        refuse(path,
               fmt::format(
                   "tensor '{}' lies at bytes {} to {} of {}: the file is truncated or damaged",
                   tensor.name, tensor.begin, tensor.end, data_bytes));
    }
    std::uint64_t elements = 0;
    const bool fits = count_elements(tensor.shape, elements);
    if (!fits || elements > kMaxSize / 8 ||
        elements * size_in_bytes(tensor.type) != tensor.end - tensor.begin) {
        refuse(path, fmt::format("tensor '{}' of {} [{}] has {} bytes of data", tensor.name,
                                 to_string(tensor.type), fmt::join(tensor.shape, ", "),
                                 tensor.end - tensor.begin));
    }
}

/// Sorted by offset, every tensor begins where the one before ends, and the last ends the file.
void check_cover(std::span<const TensorEntry> tensors, std::uint64_t data_bytes,
                 const std::filesystem::path& path) {
    std::uint64_t expected = 0;
    for (const TensorEntry& tensor : tensors) {
        if (tensor.begin != expected) {
            refuse(path, fmt::format("tensor '{}' begins at byte {} where {} is expected: {}",
                                     tensor.name, tensor.begin, expected,
                                     tensor.begin < expected ? "an overlap" : "a gap"));
        }
        expected = tensor.end;
    }
    if (expected != data_bytes) {
        refuse(path,
               fmt::format("its tensors have {} bytes, the file holds {}", expected, data_bytes));
    }
}

}  // namespace

bool count_elements(std::span<const std::int64_t> shape, std::uint64_t& elements) {
    elements = 1;
    // A zero extent makes the tensor empty, for any other extents.
    if (std::find(shape.begin(), shape.end(), 0) != shape.end()) elements = 0;
    for (const std::int64_t extent : shape) {
        if (extent < 0) return false;
        if (elements == 0) continue;
        const auto factor = static_cast<std::uint64_t>(extent);
        if (elements > kMaxSize / factor) return false;
        elements *= factor;
    }
    return true;
}

std::string header_text(std::span<const TensorEntry> tensors, const Metadata& metadata) {
    nlohmann::ordered_json header = nlohmann::ordered_json::object();
    std::set<std::string_view> names;
    nlohmann::ordered_json::object_t::Container& members =
        header.get_ref<nlohmann::ordered_json::object_t&>();
    if (!metadata.empty()) members.emplace_back(std::string(kMetadataKey), metadata);
    for (const TensorEntry& tensor : tensors) {
        if (tensor.name == kMetadataKey || !names.insert(tensor.name).second) {
            throw std::logic_error(
                fmt::format("safetensors: tensor name '{}' twice or reserved", tensor.name));
        }
        // As a list of members, since an ordered object is searched for every key that it gets.
        members.emplace_back(
            tensor.name, nlohmann::ordered_json({{"dtype", to_string(tensor.type)},
                                                 {"shape", tensor.shape},
                                                 {"data_offsets", {tensor.begin, tensor.end}}}));
    }
    std::string json_text = header.dump();
    json_text.append((kLengthBytes - json_text.size() % kLengthBytes) % kLengthBytes, ' ');
    std::string text(kLengthBytes, '\0');
    for (std::size_t i = 0; i < kLengthBytes; ++i) {
        text[i] = static_cast<char>((json_text.size() >> (8 * i)) & 0xFFU);
    }
    return text + json_text;
}

Header parse_header(std::string_view json_text, std::uint64_t data_bytes,
                    const std::filesystem::path& path) {
    const json object = parse_json(json_text, path);
    Header header;
    for (const auto& [name, value] : object.items()) {
        if (name == kMetadataKey) {
            header.metadata = parse_metadata(value, path);
            continue;
        }
        header.tensors.push_back(parse_tensor(name, value, path));
        check_size(header.tensors.back(), data_bytes, path);
    }
    std::sort(header.tensors.begin(), header.tensors.end(),
              [](const TensorEntry& a, const TensorEntry& b) {
                  return std::tie(a.begin, a.end, a.name) < std::tie(b.begin, b.end, b.name);
              });
    check_cover(header.tensors, data_bytes, path);
    return header;
}

}  // namespace isoflop::checkpoint
