// Names as drivers, systems, clouds and people write them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "isoflop/base/error.hpp"
#include "isoflop/hardware/gpu_table.hpp"

namespace isoflop::hardware {
namespace {

using testing::AllOf;
using testing::HasSubstr;

using Names = std::vector<std::pair<std::string_view, std::string_view>>;

std::string id_of(std::string_view name, const GpuTable& table = GpuTable::builtin()) {
    const Gpu* gpu = table.find(name);
    return gpu == nullptr ? "(not found)" : gpu->id;
}

void expect_rows(const Names& names) {
    for (const auto& [name, id] : names) EXPECT_EQ(id_of(name), id) << name;
}

std::string message_for(std::string_view name, const GpuTable& table = GpuTable::builtin()) {
    try {
        (void)table.at(name);
    } catch (const ConfigError& error) {
        return error.what();
    }
    return "(no error)";
}

TEST(GpuNames, OfDrivers) {
    expect_rows({
        {"NVIDIA H100 80GB HBM3", "H100-SXM"},
        {"NVIDIA H100 SXM5 80GB", "H100-SXM"},
        {"NVIDIA H100 SXM6 AC", "H100-SXM"},
        {"NVIDIA H100 80GB HBM3 VF", "H100-SXM"},
        {"NVIDIA H100 Tensor Core GPU", "H100-SXM"},
        {"NVIDIA H100 NVL", "H100-NVL"},
        {"NVIDIA H200 NVL 141GB", "H200-NVL"},
        {"NVIDIA H800", "H800-SXM"},
        {"NVIDIA H800 PCIe", "H800-PCIe"},
        {"NVIDIA H20-3e", "H20-3e"},
        {"NVIDIA B200", "B200-SXM"},
        {"NVIDIA B300 SXM6 AC", "B300-SXM"},
        {"NVIDIA GB200", "GB200"},
        {"NVIDIA GB10", "GB10"},
        {"NVIDIA GH200 96GB HBM3", "GH200-96"},
        {"NVIDIA GH200 120GB", "GH200-96"},
        {"NVIDIA GH200 144G HBM3e", "GH200-144"},
        {"NVIDIA A100-SXM4-80GB", "A100-SXM-80"},
        {"NVIDIA A100-SXM4-40GB VF", "A100-SXM-40"},
        {"NVIDIA A100-SXM-64GB", "A100-SXM-64"},
        {"GRID A100X-40C", "A100-SXM-40"},
        {"GRID A100DX-80C", "A100-SXM-80"},
        {"NVIDIA A100D-80C", "A100-PCIe-80"},
        {"NVIDIA A800 80GB PCIe", "A800-PCIe-80"},
        {"NVIDIA A800 40GB Active", "A800-PCIe-40"},
        {"NVIDIA L20", "L20"},
        {"NVIDIA GeForce RTX 4070 Ti SUPER", "RTX-4070-Ti-SUPER"},
        {"NVIDIA GeForce RTX 5060 Ti", "RTX-5060-Ti-8"},
        {"NVIDIA GeForce RTX 3060", "RTX-3060"},
        {"AMD Instinct MI300A", "MI300A"},
        {"AMD Instinct MI300X VF", "MI300X"},
        {"AMD Instinct\xe2\x84\xa2 MI325X OAM", "MI325X"},
    });
}

TEST(GpuNames, OfSystems) {
    expect_rows({
        {"DGX H100", "H100-SXM"},
        {"NVIDIA DGX H100", "H100-SXM"},
        {"DGX H100 640GB", "H100-SXM"},
        {"HGX H200", "H200-SXM"},
        {"DGX H200 1128GB", "H200-SXM"},
        {"DGX A100 640GB", "A100-SXM-80"},
        {"DGX A100 320GB", "A100-SXM-40"},
        {"320 GB DGX A100", "A100-SXM-40"},
        {"DGX Station A100 320GB", "A100-SXM-80"},
        {"DGX A100 40GB", "A100-SXM-40"},
        {"HGX A100 80GB SXM4", "A100-SXM-80"},
        {"HGX H20", "H20"},
        {"HGX B300", "B300-SXM"},
        {"DGX GB300", "GB300"},
        {"DGX-2", "V100-SXM2-32"},
        {"DGX Spark", "GB10"},
        {"NVIDIA DGX Spark 128GB", "GB10"},
    });
}

TEST(GpuNames, OfMachineTypesOfClouds) {
    expect_rows({
        {"p5.48xlarge", "H100-SXM"},
        {"ml.p5.48xlarge", "H100-SXM"},
        {"AWS p5.4xlarge", "H100-SXM"},
        {"p5", "H100-SXM"},
        {"p5e.48xlarge", "H200-SXM"},
        {"p5en", "H200-SXM"},
        {"p4d.24xlarge", "A100-SXM-40"},
        {"p4de.24xlarge", "A100-SXM-80"},
        {"p6-b200.48xlarge", "B200-SXM"},
        {"p6e-gb200.36xlarge", "GB200"},
        {"p3dn.24xlarge", "V100-SXM2-32"},
        {"g4dn.metal", "T4"},
        {"g5.xlarge", "A10G"},
        {"g6e.48xlarge", "L40S"},
        {"trn2.48xlarge", "Trainium2"},
        {"AWS Trainium 3", "Trainium3"},
        {"a3-highgpu-8g", "H100-SXM"},
        {"a3-highgpu-1g", "H100-SXM"},
        {"a3-megagpu-8g", "H100-SXM"},
        {"a3-ultragpu-8g", "H200-SXM"},
        {"a2-highgpu-4g", "A100-SXM-40"},
        {"a2-highgpu", "A100-SXM-40"},
        {"a2-ultragpu-1g", "A100-SXM-80"},
        {"a4-highgpu-8g", "B200-SXM"},
        {"a4x-maxgpu-4g-metal", "GB300"},
        {"g2-standard-96", "L4"},
        {"nvidia-h100-mega-80gb", "H100-SXM"},
        {"Google Cloud TPU v5p", "TPU-v5p"},
        {"ND H100 v5", "H100-SXM"},
        {"Standard_ND96isr_H100_v5", "H100-SXM"},
        {"Standard_ND96isr_H200_v5", "H200-SXM"},
        {"Azure ND96amsr_A100_v4", "A100-SXM-80"},
        {"ND96asr_v4", "A100-SXM-40"},
        {"Standard_NC24ads_A100_v4", "A100-PCIe-80"},
        {"Standard_NC96ads_A100_v4", "A100-PCIe-80"},
        {"NC40ads_H100_v5", "H100-NVL"},
        {"ND96isr_MI300X_v5", "MI300X"},
        {"Standard_NC64as_T4_v3", "T4"},
        {"BM.GPU.H100.8", "H100-SXM"},
        {"BM.GPU4.8", "A100-SXM-40"},
        {"BM.GPU.A100-v2.8", "A100-SXM-80"},
        {"gpu_8x_h100_sxm5", "H100-SXM"},
    });
}

TEST(GpuNames, OfPeople) {
    expect_rows({
        {"h100 80gb", "H100-SXM"},
        {"80GB H100", "H100-SXM"},
        {"H100 (80 GB)", "H100-SXM"},
        {"H100, 94 GB", "H100-NVL"},
        {"H200 PCIe", "H200-NVL"},
        {"A100 80 GB sxm", "A100-SXM-80"},
        {"a100 sxm 40 gib", "A100-SXM-40"},
        {"40 GB PCIe A100", "A100-PCIe-40"},
        {"a100pcie80gb", "A100-PCIe-80"},
        {"A100-PCI-E-80GB", "A100-PCIe-80"},
        {"A100-40", "A100-SXM-40"},
        {"A100 64", "A100-SXM-64"},
        {"H20 141GB", "H20-3e"},
        {"A800 40GB", "A800-PCIe-40"},
        {"B200 192GB", "B200-SXM"},
        {"V100 16 GB", "V100-SXM2-16"},
        {"RTX4090", "RTX-4090"},
        {"4090", "RTX-4090"},
        {"rtx-4090 24gb", "RTX-4090"},
        {"RTX 3080 12GB", "RTX-3080-12"},
        {"4060ti 16gb", "RTX-4060-Ti-16"},
        {"16GB RTX 5060 Ti", "RTX-5060-Ti-16"},
        {"gaudi 3", "Gaudi3"},
        {"TPU v7", "TPU-v7x"},
    });
}

// Only the PCIe card of the H100 has HBM2e.
TEST(GpuNames, AKindOfMemoryChoosesTheCard) {
    expect_rows({{"H100 80GB HBM2e", "H100-PCIe"},
                 {"NVIDIA H100 HBM2e 80GB", "H100-PCIe"},
                 {"HBM2e H100", "H100-PCIe"},
                 {"H100 80GB HBM3", "H100-SXM"},
                 {"H100 80GB", "H100-SXM"},
                 {"A100 80GB HBM2e", "A100-SXM-80"}});
}

// Lambda's instance types of its API: V100 with 16 GB, A100 with 40 GB unless they say 80.
TEST(GpuNames, OfLambda) {
    expect_rows({{"gpu_8x_v100", "V100-SXM2-16"},
                 {"gpu_8x_a100", "A100-SXM-40"},
                 {"gpu_1x_a100_sxm4", "A100-SXM-40"},
                 {"gpu_1x_a100", "A100-PCIe-40"},
                 {"gpu_8x_a100_80gb_sxm4", "A100-SXM-80"},
                 {"gpu_1x_h100_pcie", "H100-PCIe"}});
    EXPECT_EQ(id_of("gpu_1x_rtx6000"), "(not found)") << "the RTX 6000 of 24 GB";
}

TEST(GpuNames, OfTheTeslaBrandAndOtherMachineTypes) {
    expect_rows({{"Tesla V100", "V100-SXM2-32"},
                 {"Tesla A100-SXM4-40GB", "A100-SXM-40"},
                 {"Tesla L4", "L4"},
                 {"NVIDIA Tesla T4", "T4"},
                 {"nvidia-tesla-v100", "V100-SXM2-16"},
                 {"nvidia-tesla-a100", "A100-SXM-40"},
                 {"nvidia-tesla-t4", "T4"},
                 {"Standard_ND96is_H100_v5", "H100-SXM"},
                 {"Standard_ND96isrf_H100_v5", "H100-SXM"},
                 {"Standard_ND96is_flex_H100_v5", "H100-SXM"},
                 {"Standard_ND128isr_NDR_GB300_v6", "GB300"},
                 {"Standard_ND128isr_NDR_GB200_v6", "GB200"},
                 {"Standard_ND96ams_A100_v4", "A100-SXM-80"},
                 {"VM.GPU.A10.1", "A10"},
                 {"tpu-v5p-slice", "TPU-v5p"},
                 {"tpu-v5-lite-podslice", "TPU-v5e"}});
}

TEST(GpuNames, OfOtherGenerationsGetNoAdvice) {
    for (const std::string_view name :
         {"Tesla P100-PCIE-16GB", "ND V100 v2", "P4", "Tesla P4", "g4", "g4ad.xlarge", "g5g.xlarge",
          "RTX 6000 Pro", "RTX 6000 24GB", "ND96isr_B200_v6", "NVL", "tpu-v5q"}) {
        EXPECT_THAT(message_for(name),
                    AllOf(HasSubstr("unknown GPU"), testing::Not(HasSubstr("did you mean"))))
            << name;
    }
}

// Words without meaning must not lead to another row, for any name of the table.
TEST(GpuNames, WordsThatNameNoChipDoNotCount) {
    for (const Gpu& gpu : GpuTable::builtin().gpus()) {
        std::vector<std::string> names = gpu.aliases;
        names.push_back(gpu.id);
        for (const std::string& name : names) {
            EXPECT_EQ(id_of(name + " VF"), gpu.id) << name;
            EXPECT_EQ(id_of(name + " GPU"), gpu.id) << name;
            if (!name.starts_with(gpu.vendor)) {
                EXPECT_EQ(id_of(gpu.vendor + " " + name + " (R)"), gpu.id) << name;
            }
        }
    }
}

TEST(GpuNames, SizesThatNoRowHasAreRefusedWithThoseThereAre) {
    EXPECT_THAT(message_for("A100 48GB"),
                AllOf(HasSubstr("unknown GPU 'A100 48GB'; rows of that name: "),
                      HasSubstr("A100-SXM-80 (80 GB)"), HasSubstr("A100-SXM-40 (40 GB)"),
                      HasSubstr("A100-SXM-64 (64 GB)")));
    EXPECT_THAT(message_for("NVIDIA H100 SXM6 AC 96GB"), HasSubstr("H100-SXM (80 GB)"));
    EXPECT_THAT(message_for("24GB H100"), HasSubstr("H100-SXM (80 GB), H100-NVL (94 GB)"));
    EXPECT_THAT(message_for("RTX 4090 48G"), HasSubstr("RTX-4090 (24 GB)"));
    EXPECT_THAT(message_for("RTX 3060 8GB"), HasSubstr("RTX-3060 (12 GB)"));
    EXPECT_THAT(message_for("A100 40GB 80GB"), HasSubstr("rows of that name"));
    EXPECT_THAT(message_for("DGX A100 480GB"), HasSubstr("rows of that name"));
    EXPECT_THAT(message_for("A100 320GB"), HasSubstr("rows of that name")) << "no system";
}

TEST(GpuNames, SumsOverASystemThatFitTwoRowsAreRefused) {
    EXPECT_THAT(message_for("HGX A100 320GB"),
                AllOf(HasSubstr("A100-SXM-80 (80 GB)"), HasSubstr("A100-SXM-40 (40 GB)")))
        << "four GPUs of 80 GB or eight of 40 GB";
}

TEST(GpuNames, VendorsInFrontMustBeTheRows) {
    EXPECT_EQ(id_of("AMD H100 80GB"), "(not found)");
    EXPECT_EQ(id_of("NVIDIA MI300X VF"), "(not found)");
    EXPECT_THAT(message_for("AMD H100"), testing::Not(HasSubstr("did you mean")));
}

TEST(GpuNames, OfATableOfOnesOwnAreReadTheSameWay) {
    constexpr std::string_view figures = R"(
        "dense_tflops": {"fp32": 1}, "memory_bandwidth_gb_per_s": 100,
        "link": {"name": "Wire", "gb_per_s": 1},
        "sources": {"peaks": "a", "memory": "b", "link": "c"}})";
    const std::string text =
        R"({"gpus": [{"id": "X1-PCIe-16", "vendor": "Acme", "aliases": ["X1 PCIe 16GB"], "memory_gb": 16,)" +
        std::string(figures) +
        R"(, {"id": "X1-PCIe-32", "vendor": "Acme", "aliases": ["X1 PCIe 32GB"], "memory_gb": 32,)" +
        std::string(figures) + "]}";
    const GpuTable table = GpuTable::from_text(text, "my.jsonc");
    EXPECT_EQ(id_of("32 GB Acme X1 pcie", table), "X1-PCIe-32");
    EXPECT_THAT(message_for("Acme X1 PCIe", table),
                HasSubstr("rows of that name: X1-PCIe-16 (16 GB), X1-PCIe-32 (32 GB)"))
        << "no row is the usual one";
}

}  // namespace
}  // namespace isoflop::hardware
