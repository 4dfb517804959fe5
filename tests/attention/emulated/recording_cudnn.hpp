// A cuDNN that computes nothing: it keeps what descriptors were given, refuses what the real one
// would refuse for its order, and tells graphs as text.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "attention/cudnn/functions.hpp"

namespace isoflop::test {

namespace cudnn = attention::cudnn;

class RecordingCudnn {
public:
    struct Record {
        cudnn::DescriptorType type{};
        std::map<int, std::vector<std::byte>> attributes;
        bool finalized = false;

        template <class T>
        [[nodiscard]] std::vector<T> all(cudnn::Attribute attribute) const {
            const auto found = attributes.find(static_cast<int>(attribute));
            if (found == attributes.end()) return {};
            std::vector<T> values(found->second.size() / sizeof(T));
            std::memcpy(values.data(), found->second.data(), found->second.size());
            return values;
        }
        template <class T>
        [[nodiscard]] T one(cudnn::Attribute attribute) const {
            const auto found = attributes.find(static_cast<int>(attribute));
            T value{};
            if (found != attributes.end() && found->second.size() == sizeof(T))
                std::memcpy(&value, found->second.data(), sizeof(T));
            return value;
        }
        [[nodiscard]] const Record& part(cudnn::Attribute attribute) const {
            return *static_cast<const Record*>(one<void*>(attribute));
        }
        [[nodiscard]] std::int64_t uid(cudnn::Attribute attribute) const {
            return part(attribute).one<std::int64_t>(cudnn::Attribute::tensor_unique_id);
        }
    };

    // What it is to answer.
    std::size_t version = 91900;
    std::size_t cudart_version = 13000;
    int engines = 1;
    int refused_engines = 0;  ///< of which no plan can be made
    std::int64_t workspace_bytes = 4096;
    bool refuses_read_plans = false;
    int create_status = cudnn::kSuccess;

    std::string json = R"({"a plan": 1})";

    // What it has seen.
    CUstream_st* stream = nullptr;
    int handles = 0;
    int living = 0;                       ///< descriptors
    int plans = 0;                        ///< compiled
    int read_plans = 0;                   ///< from JSON
    std::vector<std::string> operations;  ///< of the last graph, in order
    std::map<std::int64_t, Record> tensors;
    struct Run {
        std::map<std::int64_t, void*> addresses;
        std::map<std::int64_t, float> numbers;
        void* workspace = nullptr;
    };
    std::vector<Run> runs;

    [[nodiscard]] cudnn::Functions functions() {
        cudnn::Functions table;
        table.get_version = [this] { return version; };
        table.get_cudart_version = [this] { return cudart_version; };
        table.get_error_string = [](int) { return "CUDNN_STATUS_NOT_SUPPORTED"; };
        table.get_last_error_string = [](char* message, std::size_t size) {
            std::strncpy(message, "because of the test", size);
        };
        table.create = [this](cudnn::Handle* handle) {
            *handle = reinterpret_cast<cudnn::Handle>(this);
            if (create_status == cudnn::kSuccess) ++handles;
            return create_status;
        };
        table.destroy = [this](cudnn::Handle) {
            --handles;
            return cudnn::kSuccess;
        };
        table.set_stream = [this](cudnn::Handle, CUstream_st* given) {
            stream = given;
            return cudnn::kSuccess;
        };
        table.backend_create_descriptor = [this](int type, cudnn::RawDescriptor* descriptor) {
            auto* record = new Record;
            record->type = static_cast<cudnn::DescriptorType>(type);
            *descriptor = record;
            ++living;
            return cudnn::kSuccess;
        };
        table.backend_destroy_descriptor = [this](cudnn::RawDescriptor descriptor) {
            delete static_cast<Record*>(descriptor);
            --living;
            return cudnn::kSuccess;
        };
        table.backend_set_attribute = [](cudnn::RawDescriptor descriptor, int attribute, int type,
                                         std::int64_t count, const void* elements) {
            return set(*static_cast<Record*>(descriptor), attribute,
                       static_cast<cudnn::ValueType>(type), count, elements);
        };
        table.backend_get_attribute = [this](cudnn::RawDescriptor, int attribute, int,
                                             std::int64_t requested, std::int64_t* count,
                                             void* elements) {
            if (attribute == static_cast<int>(cudnn::Attribute::engineheur_results)) {
                *count = std::min<std::int64_t>(requested, engines);
            } else if (attribute == kJson) {
                *count = std::ssize(json);
                std::copy_n(json.data(), std::min(*count, requested), static_cast<char*>(elements));
            } else {
                *count = 1;
                std::memcpy(elements, &workspace_bytes, sizeof(workspace_bytes));
            }
            return cudnn::kSuccess;
        };
        table.backend_finalize = [this](cudnn::RawDescriptor descriptor) {
            return finalize(*static_cast<Record*>(descriptor));
        };
        table.backend_execute = [this](cudnn::Handle handle, cudnn::RawDescriptor plan,
                                       cudnn::RawDescriptor pack) {
            EXPECT_EQ(handle, reinterpret_cast<cudnn::Handle>(this));
            EXPECT_TRUE(static_cast<Record*>(plan)->finalized);
            return execute(*static_cast<Record*>(pack));
        };
        return table;
    }

private:
    static constexpr int kRefused = 3000;
    static constexpr int kJson =
        static_cast<int>(cudnn::Attribute::execution_plan_json_representation);

    static std::size_t size_of(cudnn::ValueType type) {
        switch (type) {
            case cudnn::ValueType::boolean:
            case cudnn::ValueType::character: return 1;
            case cudnn::ValueType::data_type:
            case cudnn::ValueType::heur_mode:
            case cudnn::ValueType::pointwise_mode:
            case cudnn::ValueType::reduction_operator: return sizeof(int);
            default: return 8;
        }
    }
    static int set(Record& record, int attribute, cudnn::ValueType type, std::int64_t count,
                   const void* elements) {
        if (record.finalized) return kRefused;
        const auto* bytes = static_cast<const std::byte*>(elements);
        record.attributes[attribute].assign(
            bytes, bytes + static_cast<std::size_t>(count) * size_of(type));
        if (type != cudnn::ValueType::descriptor) return cudnn::kSuccess;
        // Parts must be ready, but for engine configurations, which the heuristics fill.
        for (const auto* part : record.all<const Record*>(static_cast<cudnn::Attribute>(attribute)))
            if (!part->finalized && part->type != cudnn::DescriptorType::engine_config)
                return kRefused;
        return cudnn::kSuccess;
    }

    int finalize(Record& record) {
        using cudnn::Attribute;
        using cudnn::DescriptorType;
        record.finalized = true;
        if (record.type == DescriptorType::tensor) {
            tensors[record.one<std::int64_t>(Attribute::tensor_unique_id)] = record;
        } else if (record.type == DescriptorType::operation_graph) {
            operations.clear();
            for (const auto* each : record.all<const Record*>(Attribute::operationgraph_ops))
                operations.push_back(text_of(*each));
        } else if (record.attributes.contains(kJson)) {
            const auto given = record.all<char>(Attribute::execution_plan_json_representation);
            if (refuses_read_plans || std::string(given.begin(), given.end()) != json)
                return kRefused;
            ++read_plans;
        } else if (record.type == DescriptorType::execution_plan) {
            if (refused_engines > 0) {
                --refused_engines;
                return kRefused;
            }
            ++plans;
        }
        return cudnn::kSuccess;
    }

    static std::string text_of(const Record& operation) {
        using cudnn::Attribute;
        using cudnn::DescriptorType;
        const auto name = [&](Attribute attribute) {
            return std::to_string(operation.uid(attribute));
        };
        switch (operation.type) {
            case DescriptorType::operation_matmul:
                return "matmul " + name(Attribute::operation_matmul_adesc) + " " +
                       name(Attribute::operation_matmul_bdesc) + " -> " +
                       name(Attribute::operation_matmul_cdesc);
            case DescriptorType::operation_reduction:
                return "reduce" +
                       std::to_string(operation.part(Attribute::operation_reduction_desc)
                                          .one<int>(Attribute::reduction_operator)) +
                       " " + name(Attribute::operation_reduction_xdesc) + " -> " +
                       name(Attribute::operation_reduction_ydesc);
            case DescriptorType::operation_reshape:
                return "reshape " + name(Attribute::operation_reshape_xdesc) + " -> " +
                       name(Attribute::operation_reshape_ydesc);
            case DescriptorType::operation_pointwise: return pointwise_text(operation);
            default: return "unknown";
        }
    }
    static std::string pointwise_text(const Record& operation) {
        using cudnn::Attribute;
        static const std::map<int, std::string> names = {
            {0, "add"},  {1, "mul"},       {6, "div"},      {9, "sub"},     {13, "exp"},
            {15, "log"}, {21, "identity"}, {303, "cmp_ge"}, {501, "index"}, {601, "select"}};
        const Record& function = operation.part(Attribute::operation_pointwise_pw_descriptor);
        std::string text = names.at(function.one<int>(Attribute::pointwise_mode));
        const auto axis = function.all<std::int64_t>(Attribute::pointwise_axis);
        if (!axis.empty()) text += std::to_string(axis.front());
        for (const Attribute input :
             {Attribute::operation_pointwise_xdesc, Attribute::operation_pointwise_bdesc,
              Attribute::operation_pointwise_tdesc}) {
            if (operation.attributes.contains(static_cast<int>(input)))
                text += " " + std::to_string(operation.uid(input));
        }
        return text + " -> " + std::to_string(operation.uid(Attribute::operation_pointwise_ydesc));
    }

    int execute(const Record& pack) {
        using cudnn::Attribute;
        Run run;
        const auto uids = pack.all<std::int64_t>(Attribute::variant_pack_unique_ids);
        const auto pointers = pack.all<void*>(Attribute::variant_pack_data_pointers);
        for (std::size_t i = 0; i < uids.size(); ++i) {
            if (tensors.at(uids[i]).one<bool>(Attribute::tensor_is_by_value)) {
                run.numbers[uids[i]] = *static_cast<const float*>(pointers.at(i));
            } else {
                run.addresses[uids[i]] = pointers.at(i);
            }
        }
        run.workspace = pack.one<void*>(Attribute::variant_pack_workspace);
        runs.push_back(run);
        return cudnn::kSuccess;
    }
};

}  // namespace isoflop::test
