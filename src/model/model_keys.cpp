// The schema of a model file.
#include "isoflop/model/model_fields.hpp"

namespace isoflop::model {

const config::Schema<ModelFile>& model_schema() {
    static const config::Schema<ModelFile> schema = [] {
        config::Schema<ModelFile> built(
            "model",
            "The architecture of a decoder-only language model: a Hugging Face config.json "
            "or a file of ours.");
        auto keys = built.section("", &ModelFile::keys, "", config::Required::yes);
        add_model_fields(keys);
        return built;
    }();
    return schema;
}

}  // namespace isoflop::model
