// Fuzz target: the manifest and the trainer state of a checkpoint. The checksum of the manifest is
// made right, as an attacker makes it.
#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <vector>

#include "fuzz_support.hpp"
#include "isoflop/base/checksum.hpp"
#include "isoflop/checkpoint/checkpoint.hpp"

namespace {

/// The last line of a manifest that lacks it.
std::string sealed(std::string_view manifest) {
    return fmt::format("{},\n  \"manifest_crc32c\": \"{}\"\n}}\n", manifest,
                       isoflop::checksum_text(isoflop::crc32c(manifest)));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace isoflop;
    using namespace isoflop::fuzz;
    static const std::string model = [] {
        const std::string header =
            R"({"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}       )";
        std::string bytes(8, '\0');
        bytes[0] = static_cast<char>(header.size());
        return bytes + header + std::string(8, '\0');
    }();
    (void)scratch().put("model.safetensors", model);
    (void)scratch().put("trainer_state.json", R"({"iter":1})");
    (void)scratch().put("manifest.json", sealed(text_of(data, size)));
    expect_read_or_refused([] {
        const auto reader = checkpoint::CheckpointReader::open(scratch().path());
        for (const checkpoint::TensorDescription& tensor : reader.tensors()) {
            const auto elements = checkpoint::element_count(tensor.shape);
            std::vector<float> values(std::min<std::uint64_t>(elements, 16));
            reader.read(tensor.name, 0, std::span<float>(values));
        }
        (void)reader.trainer_state();
        (void)reader.validation_loss();
    });
    return 0;
}
