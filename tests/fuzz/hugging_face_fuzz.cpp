// Fuzz target: the config.json of a Hugging Face model that is imported. There are no weights, so
// an import that gets so far is refused for want of them.
#include <span>

#include "fuzz_support.hpp"
#include "isoflop/checkpoint/hugging_face.hpp"
#include "isoflop/config/json.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace isoflop;
    using namespace isoflop::fuzz;
    (void)scratch().put("config.json", text_of(data, size));
    expect_read_or_refused([] { (void)checkpoint::import_hugging_face(scratch().path()); });
    return 0;
}
