#include "manifest.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "isoflop/base/checksum.hpp"
#include "isoflop/base/error.hpp"
#include "isoflop/base/file.hpp"
#include "isoflop/config/json.hpp"

namespace isoflop::checkpoint {
namespace {

using nlohmann::ordered_json;

constexpr const char* kFormat = "isoflop checkpoint";
constexpr std::int64_t kFormatVersion = 1;
constexpr std::uint64_t kMaxManifestBytes = std::uint64_t{1} << 28U;
constexpr std::string_view kTailBegin = ",\n  \"manifest_crc32c\": \"";
constexpr std::string_view kTailEnd = "\"\n}\n";
constexpr std::size_t kChecksumDigits = 8;

[[noreturn]] void refuse(const std::filesystem::path& path, const std::string& what) {
    throw IoError(fmt::format("'{}' is damaged: {}", path.string(), what));
}

ordered_json to_json(const FileRecord& file) {
    return {{"name", file.name},
            {"bytes", file.summary.bytes},
            {"crc32c", checksum_text(file.summary.checksum)}};
}

ordered_json to_json(const TensorRecord& tensor) {
    ordered_json slices = ordered_json::array();
    for (const SliceRecord& slice : tensor.slices) {
        slices.push_back({{"file", slice.file}, {"first", slice.first}, {"count", slice.count}});
    }
    return {{"name", tensor.description.name},
            {"dtype", to_string(tensor.description.type)},
            {"shape", tensor.description.shape},
            {"slices", std::move(slices)}};
}

/// The text before the last line, once its checksum is right.
std::string_view guarded_text(std::string_view text, const std::filesystem::path& path) {
    const std::size_t tail_size = kTailBegin.size() + kChecksumDigits + kTailEnd.size();
    if (text.size() < tail_size) refuse(path, "it is truncated");
    const std::string_view guarded = text.substr(0, text.size() - tail_size);
    const std::string tail =
        fmt::format("{}{}{}", kTailBegin, checksum_text(crc32c(guarded)), kTailEnd);
    if (text.substr(guarded.size()) != tail)
        refuse(path, "its own checksum does not match (truncated or altered)");
    return guarded;
}

constexpr std::uint64_t kMaxCount = std::uint64_t{1} << 62U;

std::int64_t natural(const ordered_json& value, std::uint64_t most = kMaxCount) {
    if (!value.is_number_unsigned() || value.get<std::uint64_t>() > most) {
        throw std::out_of_range(fmt::format("{} is no count of at most {}", value.dump(), most));
    }
    return value.get<std::int64_t>();
}

/// A plain name: a manifest from elsewhere must not reach outside its folder.
std::string file_name(const ordered_json& value) {
    auto name = value.get<std::string>();
    if (name.empty() || name.front() == '.' || name.find('/') != std::string::npos)
        throw std::out_of_range(fmt::format("'{}' is no file name", name));
    return name;
}

FileRecord file_from_json(const ordered_json& object) {
    FileRecord file;
    file.name = file_name(object.at("name"));
    file.summary.bytes = static_cast<std::uint64_t>(natural(object.at("bytes")));
    file.summary.checksum =
        static_cast<std::uint32_t>(std::stoul(object.at("crc32c").get<std::string>(), nullptr, 16));
    return file;
}

TensorRecord tensor_from_json(const ordered_json& object) {
    TensorRecord tensor;
    tensor.description.name = object.at("name").get<std::string>();
    const auto type = from_string<ElementType>(object.at("dtype").get<std::string>());
    if (!type) throw std::out_of_range("unknown dtype " + object.at("dtype").dump());
    tensor.description.type = *type;
    for (const ordered_json& extent : object.at("shape"))
        tensor.description.shape.push_back(natural(extent));
    const auto elements = element_count(tensor.description.shape);  // throws on overflow
    for (const ordered_json& slice : object.at("slices")) {
        tensor.slices.push_back({.file = file_name(slice.at("file")),
                                 .first = natural(slice.at("first"), elements),
                                 .count = natural(slice.at("count"), elements)});
    }
    return tensor;
}

Manifest from_json(const ordered_json& object) {
    Manifest manifest;
    manifest.step = natural(object.at("step"));
    manifest.lineage = object.value("lineage", std::string());
    if (object.at("val_loss").is_number())
        manifest.validation_loss = object.at("val_loss").get<double>();
    for (const ordered_json& file : object.at("files"))
        manifest.files.push_back(file_from_json(file));
    for (const ordered_json& tensor : object.at("tensors"))
        manifest.tensors.push_back(tensor_from_json(tensor));
    return manifest;
}

}  // namespace

std::string manifest_text(const Manifest& manifest) {
    ordered_json object = {
        {"format", kFormat}, {"format_version", kFormatVersion}, {"step", manifest.step}};
    if (!manifest.lineage.empty()) object["lineage"] = manifest.lineage;
    object["val_loss"] = nullptr;
    if (manifest.validation_loss) object["val_loss"] = *manifest.validation_loss;
    object["files"] = ordered_json::array();
    for (const FileRecord& file : manifest.files) object["files"].push_back(to_json(file));
    object["tensors"] = ordered_json::array();
    for (const TensorRecord& tensor : manifest.tensors)
        object["tensors"].push_back(to_json(tensor));
    std::string text = object.dump(2);
    text.resize(text.size() - std::string_view("\n}").size());
    text += fmt::format("{}{}{}", kTailBegin, checksum_text(crc32c(text)), kTailEnd);
    return text;
}

Manifest read_manifest(const std::filesystem::path& path) {
    const std::string text = read_text_file(path, kMaxManifestBytes);
    const std::string_view guarded = guarded_text(text, path);
    try {
        const ordered_json object = config::parse_json(fmt::format("{}\n}}", guarded));
        const auto version = object.at("format_version").get<std::int64_t>();
        if (object.at("format") != kFormat || version != kFormatVersion) {
            throw IoError(fmt::format("'{}' has format version {}; this program reads version {}",
                                      path.string(), version, kFormatVersion));
        }
        return from_json(object);
    } catch (const config::JsonFault& fault) {
        refuse(path, fault.what());
    } catch (const ordered_json::exception& error) {
        refuse(path, error.what());
    } catch (const std::logic_error& error) {  // out_of_range, invalid_argument
        refuse(path, error.what());
    }
}

Manifest merge(std::span<const Manifest> shards) {
    Manifest merged;
    std::map<std::string, std::size_t, std::less<>> places;
    for (const Manifest& shard : shards) {
        merged.step = shard.step;
        merged.files.insert(merged.files.end(), shard.files.begin(), shard.files.end());
        for (const TensorRecord& tensor : shard.tensors) {
            const auto [place, is_new] =
                places.emplace(tensor.description.name, merged.tensors.size());
            if (is_new) {
                merged.tensors.push_back(tensor);
                continue;
            }
            TensorRecord& known = merged.tensors[place->second];
            if (known.description.shape != tensor.description.shape ||
                known.description.type != tensor.description.type) {
                throw IoError(fmt::format("the ranks disagree about shape or type of tensor '{}'",
                                          tensor.description.name));
            }
            known.slices.insert(known.slices.end(), tensor.slices.begin(), tensor.slices.end());
        }
    }
    return merged;
}

void check_slices(Manifest& manifest, const std::filesystem::path& path) {
    for (TensorRecord& tensor : manifest.tensors) {
        auto& slices = tensor.slices;
        std::sort(slices.begin(), slices.end(),
                  [](const SliceRecord& a, const SliceRecord& b) { return a.first < b.first; });
        const auto elements = static_cast<std::int64_t>(element_count(tensor.description.shape));
        std::int64_t next = 0;
        for (const SliceRecord& slice : slices) {
            if (slice.first != next) {
                refuse(path,
                       fmt::format("tensor '{}' has {} elements {} to {}", tensor.description.name,
                                   slice.first < next ? "two values for" : "no values for",
                                   std::min(slice.first, next), std::max(slice.first, next)));
            }
            if (slice.count > elements - next) {
                refuse(path, fmt::format("tensor '{}' has values for more than {} elements",
                                         tensor.description.name, elements));
            }
            next = slice.first + slice.count;
        }
        if (next != elements) {
            refuse(path, fmt::format("tensor '{}' has values for {} of {} elements",
                                     tensor.description.name, next, elements));
        }
    }
}

bool has_all_files(const Manifest& manifest, const std::filesystem::path& directory) {
    return std::all_of(manifest.files.begin(), manifest.files.end(), [&](const FileRecord& file) {
        std::error_code error;
        return std::filesystem::file_size(directory / file.name, error) == file.summary.bytes &&
               !error;
    });
}

}  // namespace isoflop::checkpoint
