// Finding a row: by id, alias, spelling variants and the names that drivers print.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <string>
#include <utility>
#include <vector>

#include "isoflop/base/error.hpp"
#include "isoflop/hardware/gpu_table.hpp"

namespace isoflop::hardware {
namespace {

using testing::HasSubstr;

std::string id_of(std::string_view name) {
    const Gpu* gpu = GpuTable::builtin().find(name);
    return gpu == nullptr ? "(not found)" : gpu->id;
}

std::vector<std::string> all_names_of(const Gpu& gpu) {
    std::vector<std::string> names = gpu.aliases;
    names.push_back(gpu.id);
    return names;
}

template <class Change>
std::string changed(std::string text, Change change) {
    std::ranges::transform(text, text.begin(), [&](char letter) {
        return static_cast<char>(change(static_cast<unsigned char>(letter)));
    });
    return text;
}

std::string without_separators(std::string text) {
    std::erase_if(text, [](char letter) { return letter == ' ' || letter == '-'; });
    return text;
}

TEST(GpuLookup, FindsEveryIdAndAliasInEverySpelling) {
    for (const Gpu& gpu : GpuTable::builtin().gpus()) {
        for (const std::string& name : all_names_of(gpu)) {
            EXPECT_EQ(id_of(name), gpu.id) << name;
            EXPECT_EQ(id_of(changed(name, [](int c) { return std::tolower(c); })), gpu.id) << name;
            EXPECT_EQ(id_of(changed(name, [](int c) { return std::toupper(c); })), gpu.id) << name;
            EXPECT_EQ(id_of(changed(name, [](int c) { return c == '-' ? ' ' : c; })), gpu.id);
            EXPECT_EQ(id_of(changed(name, [](int c) { return c == ' ' ? '_' : c; })), gpu.id);
            EXPECT_EQ(id_of(without_separators(name)), gpu.id) << name;
            if (!name.starts_with(gpu.vendor)) {
                EXPECT_EQ(id_of(gpu.vendor + " " + name), gpu.id) << name;
            }
        }
    }
}

TEST(GpuLookup, FindsNamesThatDriversPrint) {
    const std::vector<std::pair<std::string_view, std::string_view>> printed = {
        {"NVIDIA GB300", "GB300"},
        {"NVIDIA B300 SXM6 AC", "B300-SXM"},
        {"NVIDIA GB200", "GB200"},
        {"NVIDIA B200", "B200-SXM"},
        {"NVIDIA GH200 480GB", "GH200-96"},
        {"NVIDIA GH200 144G HBM3e", "GH200-144"},
        {"NVIDIA H200", "H200-SXM"},
        {"NVIDIA H200 NVL", "H200-NVL"},
        {"NVIDIA H100 80GB HBM3", "H100-SXM"},
        {"NVIDIA H100 PCIe", "H100-PCIe"},
        {"NVIDIA H100 NVL", "H100-NVL"},
        {"NVIDIA H800", "H800-SXM"},
        {"NVIDIA H20", "H20"},
        {"NVIDIA A100-SXM4-80GB", "A100-SXM-80"},
        {"NVIDIA A100-SXM4-40GB", "A100-SXM-40"},
        {"A100-SXM4-40GB", "A100-SXM-40"},
        {"NVIDIA A100 80GB PCIe", "A100-PCIe-80"},
        {"NVIDIA A100-PCIE-40GB", "A100-PCIe-40"},
        {"NVIDIA A800-SXM4-80GB", "A800-SXM-80"},
        {"NVIDIA A40", "A40"},
        {"NVIDIA A30", "A30"},
        {"NVIDIA A10", "A10"},
        {"NVIDIA A10G", "A10G"},
        {"NVIDIA L40S", "L40S"},
        {"NVIDIA L40", "L40"},
        {"NVIDIA L4", "L4"},
        {"Tesla V100-SXM2-32GB", "V100-SXM2-32"},
        {"Tesla V100-SXM2-16GB", "V100-SXM2-16"},
        {"Tesla V100-PCIE-32GB", "V100-PCIe-32"},
        {"Tesla V100-PCIE-16GB", "V100-PCIe-16"},
        {"Tesla V100S-PCIE-32GB", "V100S-PCIe"},
        {"Tesla T4", "T4"},
        {"NVIDIA RTX PRO 6000 Blackwell Workstation Edition", "RTX-PRO-6000-Blackwell-WS"},
        {"NVIDIA RTX PRO 6000 Blackwell Server Edition", "RTX-PRO-6000-Server"},
        {"NVIDIA RTX PRO 6000 Blackwell Max-Q Workstation Edition", "RTX-PRO-6000-Max-Q"},
        {"NVIDIA RTX 6000 Ada Generation", "RTX-6000-Ada"},
        {"NVIDIA RTX A6000", "RTX-A6000"},
        {"NVIDIA GeForce RTX 5090", "RTX-5090"},
        {"NVIDIA GeForce RTX 4090", "RTX-4090"},
        {"NVIDIA GeForce RTX 3090", "RTX-3090"},
        {"NVIDIA GeForce RTX 3080", "RTX-3080-10"},
        {"AMD Instinct MI210", "MI210"},
        {"AMD Instinct MI300X", "MI300X"},
        {"AMD Instinct MI300X OAM", "MI300X"},
        {"AMD Instinct MI325X", "MI325X"},
        {"AMD Instinct MI355X", "MI355X"},
        {"Intel(R) Data Center GPU Max 1550", "Max-1550"},
        {"TPU v5 lite", "TPU-v5e"},
    };
    for (const auto& [name, id] : printed) EXPECT_EQ(id_of(name), id) << name;
}

TEST(GpuLookup, FindsTheShortNamesOfThePredecessor) {
    const std::vector<std::pair<std::string_view, std::string_view>> names = {
        {"b200", "B200-SXM"},          {"h200", "H200-SXM"},
        {"h100", "H100-SXM"},          {"h100-sxm", "H100-SXM"},
        {"h100-pcie", "H100-PCIe"},    {"a100", "A100-SXM-80"},
        {"a100-80gb", "A100-SXM-80"},  {"a100-40gb", "A100-SXM-40"},
        {"a6000", "RTX-A6000"},        {"v100", "V100-SXM2-32"},
        {"v100-32gb", "V100-SXM2-32"}, {"rtx4090", "RTX-4090"},
        {"rtx-4090", "RTX-4090"},      {"mi250", "MI250"},
        {"mi250x", "MI250X"},
    };
    for (const auto& [name, id] : names) EXPECT_EQ(id_of(name), id) << name;
}

TEST(GpuLookup, DriverNameOfATwoDiePackageMeansOneDie) {
    EXPECT_EQ(id_of("AMD Instinct MI250X"), "MI250X-GCD");
    EXPECT_EQ(id_of("AMD Instinct MI250"), "MI250-GCD");
}

TEST(GpuLookup, UnknownNamesFindNothing) {
    EXPECT_EQ(id_of(""), "(not found)");
    EXPECT_EQ(id_of("-"), "(not found)");
    EXPECT_EQ(id_of("NVIDIA"), "(not found)");
    EXPECT_EQ(id_of("H1000"), "(not found)");
    EXPECT_EQ(id_of("AMD H100"), "(not found)") << "another vendor's chip";
    EXPECT_EQ(id_of("NVIDIA NVIDIA H100"), "(not found)");
    EXPECT_EQ(id_of(std::string(100000, 'h')), "(not found)");
    EXPECT_EQ(id_of("h100\xff"), "(not found)");
}

std::string message_for(std::string_view name) {
    try {
        (void)GpuTable::builtin().at(name);
    } catch (const ConfigError& error) {
        return error.what();
    }
    return "(no error)";
}

TEST(GpuLookup, UnknownNameSuggestsARowOfTheSameGeneration) {
    EXPECT_THAT(message_for("h100-sxn"),
                HasSubstr("unknown GPU 'h100-sxn'; did you mean 'H100-SXM'?"));
    EXPECT_THAT(message_for("DGX H100 SXN"), HasSubstr("did you mean 'H100-SXM'?"));
    EXPECT_THAT(message_for("NVIDIA GeForce RTXX 4090"), HasSubstr("did you mean 'RTX-4090'?"));
    EXPECT_THAT(message_for("RTX 4070 Super Ti"), HasSubstr("did you mean 'RTX-4070-"));
    EXPECT_THAT(message_for("Gaudy3"), HasSubstr("did you mean 'Gaudi3'?"));
    EXPECT_THAT(message_for("MI300"), HasSubstr("did you mean 'MI300"));
    EXPECT_THAT(message_for("Trilium"), HasSubstr("did you mean 'TPU-v6e'?"));
}

TEST(GpuLookup, UnknownNameNeverSuggestsAnotherGeneration) {
    for (const std::string_view name : {"H101",
                                        "DGX H101",
                                        "h10-sxm",
                                        "H10",
                                        "P100",
                                        "B400",
                                        "GB100",
                                        "GTX 1080",
                                        "RTX 4099",
                                        "RTX 2080 Ti",
                                        "NVIDIA GeForce RTX 6090",
                                        "MI308X",
                                        "MI100",
                                        "TPU v2",
                                        "Trainium9",
                                        "K80",
                                        "M60",
                                        "A2",
                                        "Titan V",
                                        "Quadro P6000",
                                        "something else",
                                        "NVIDIA",
                                        "-",
                                        ""}) {
        EXPECT_THAT(message_for(name), testing::AllOf(HasSubstr("unknown GPU"),
                                                      testing::Not(HasSubstr("did you mean"))))
            << name;
    }
}

TEST(GpuLookup, PartsOfGpusAndLaptopsAreNoCards) {
    for (const std::string_view name : {"NVIDIA GeForce RTX 4090 Laptop GPU", "RTX 4090 Mobile",
                                        "NVIDIA A100-SXM4-80GB MIG 1g.10gb", "H100 MIG 3g.40gb",
                                        "GRID A100-20C", "NVIDIA A100X-20C"}) {
        EXPECT_THAT(message_for(name), testing::AllOf(HasSubstr("unknown GPU"),
                                                      testing::Not(HasSubstr("did you mean"))))
            << name;
    }
}

TEST(GpuLookup, UnknownNameSaysWhereNamesAre) {
    EXPECT_THAT(message_for("something else"),
                testing::AllOf(HasSubstr("`scaling-plan gpus` lists the "),
                               HasSubstr(" rows of configs/gpus.jsonc (built in)"),
                               HasSubstr("docs/hardware.md says how to add one")));
    EXPECT_LT(message_for(std::string(100000, 'h')).size(), 300U);
}

TEST(GpuLookup, AtReturnsTheRow) {
    EXPECT_EQ(&GpuTable::builtin().at("h100"), GpuTable::builtin().find("H100-SXM"));
}

TEST(GpuLookup, TableSurvivesCopyAndMove) {
    GpuTable copy = GpuTable::builtin();
    const GpuTable moved = std::move(copy);
    ASSERT_NE(moved.find("h100"), nullptr);
    EXPECT_EQ(moved.find("h100")->id, "H100-SXM");
}

}  // namespace
}  // namespace isoflop::hardware
