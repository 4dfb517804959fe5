// Fuzz target: the bytes of a safetensors file. A file that is accepted can be read to its last
// byte, and its tensors lie within it.
#include <algorithm>
#include <span>
#include <vector>

#include "fuzz_support.hpp"
#include "isoflop/checkpoint/safetensors.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace isoflop;
    using namespace isoflop::fuzz;
    const auto path = scratch().put("x.safetensors", text_of(data, size));
    expect_read_or_refused([&] {
        const checkpoint::SafetensorsFile file(path);
        for (const checkpoint::TensorEntry& tensor : file.tensors()) {
            require(tensor.end - tensor.begin <= size, "a tensor lies within its file");
            require(file.find(tensor.name) == &tensor, "a tensor is found by its name");
            std::vector<std::byte> bytes(tensor.end - tensor.begin);
            file.read_bytes(tensor, 0, bytes);
            std::vector<float> values(static_cast<std::size_t>(tensor.elements()));
            try {
                file.read(tensor, 0, std::span<float>(values));
            } catch (const IoError&) {
                continue;  // integers
            }
        }
    });
    return 0;
}
