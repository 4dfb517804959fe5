// The shipped table against physics and against itself: peaks that follow from clock and core
// count, ratios between precisions, units, and completeness of sources.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <set>
#include <string>

#include "isoflop/hardware/gpu_table.hpp"
#include "source_dir.hpp"

namespace isoflop::hardware {
namespace {

const Gpu& gpu(std::string_view name) {
    return GpuTable::builtin().at(name);
}

double tflops(std::string_view name, DType dtype) {
    return peak_flops(gpu(name), dtype) / 1e12;
}

bool has(const Gpu& row, DType dtype) {
    return row.dense_peak_flops[static_cast<std::size_t>(dtype)].has_value();
}

/// Matrix units x fused multiply-adds per unit and clock x 2 x clock, in TFLOP/s.
constexpr double derived_tflops(double megahertz, double fused_multiply_adds, double units) {
    return megahertz * 1e6 * fused_multiply_adds * 2 * units / 1e12;
}

TEST(GpuFigures, PeaksFollowFromClocksAndCores) {
    // Data sheets round to four digits at best: 0.05 %; whole TFLOP/s where they print only those.
    EXPECT_NEAR(tflops("H100-SXM", DType::bfloat16), derived_tflops(1830, 512, 528), 0.1);
    EXPECT_NEAR(tflops("A100-SXM-80", DType::bfloat16), derived_tflops(1410, 256, 432), 0.5);
    EXPECT_NEAR(tflops("A100-SXM-64", DType::bfloat16), derived_tflops(1410, 256, 496), 0.5);
    EXPECT_NEAR(tflops("MI300X", DType::bfloat16), derived_tflops(2100, 256, 1216), 0.1);
    EXPECT_NEAR(tflops("MI300A", DType::bfloat16), derived_tflops(2100, 256, 912), 0.1);
    EXPECT_NEAR(tflops("MI355X", DType::bfloat16), derived_tflops(2400, 512, 1024), 0.1);
    EXPECT_NEAR(tflops("MI350X", DType::bfloat16), derived_tflops(2200, 512, 1024), 0.1);
    EXPECT_NEAR(tflops("MI250X", DType::bfloat16), derived_tflops(1700, 128, 880), 0.5);
    EXPECT_NEAR(tflops("Gaudi2", DType::bfloat16), derived_tflops(1650, 256 * 256, 2), 1);
    EXPECT_NEAR(tflops("Gaudi3", DType::bfloat16), derived_tflops(1600, 256 * 256, 8), 1);
}

TEST(GpuFigures, GeForcePeaksFollowFromCoresAndBoostClocks) {
    struct Card {
        std::string_view id;
        double cores;
        double megahertz;
    };
    constexpr Card cards[] = {{"RTX-5090", 21760, 2407},      {"RTX-5080", 10752, 2617},
                              {"RTX-5070-Ti", 8960, 2452},    {"RTX-5070", 6144, 2510},
                              {"RTX-5060-Ti-16", 4608, 2572}, {"RTX-5060-Ti-8", 4608, 2572},
                              {"RTX-5060", 3840, 2497},       {"RTX-4090", 16384, 2520},
                              {"RTX-4090-D", 14592, 2520},    {"RTX-4080-SUPER", 10240, 2550},
                              {"RTX-4080", 9728, 2505},       {"RTX-4070-Ti-SUPER", 8448, 2610},
                              {"RTX-4070-Ti", 7680, 2610},    {"RTX-4070-SUPER", 7168, 2475},
                              {"RTX-4070", 5888, 2475},       {"RTX-4060-Ti-16", 4352, 2535},
                              {"RTX-4060-Ti-8", 4352, 2535},  {"RTX-4060", 3072, 2460},
                              {"RTX-3090-Ti", 10752, 1860},   {"RTX-3090", 10496, 1695},
                              {"RTX-3080-Ti", 10240, 1665},   {"RTX-3080-12", 8960, 1710},
                              {"RTX-3080-10", 8704, 1710},    {"RTX-3070-Ti", 6144, 1770},
                              {"RTX-3070", 5888, 1725},       {"RTX-3060-Ti", 4864, 1665},
                              {"RTX-3060", 3584, 1777}};
    // Data sheets print four digits at best.
    const auto near = [](double figure) { return testing::DoubleNear(figure, 0.004 * figure); };
    for (const Card& card : cards) {
        const double fp32 = derived_tflops(card.megahertz, 1, card.cores);
        EXPECT_THAT(tflops(card.id, DType::float32), near(fp32)) << card.id;
        EXPECT_THAT(tflops(card.id, DType::bfloat16), near(2 * fp32)) << card.id;
        EXPECT_THAT(tflops(card.id, DType::int8), near(8 * fp32)) << card.id;
        if (has(gpu(card.id), DType::float8)) {
            EXPECT_THAT(tflops(card.id, DType::float8), near(4 * fp32)) << card.id;
        }
        if (has(gpu(card.id), DType::float4)) {
            EXPECT_THAT(tflops(card.id, DType::float4), near(16 * fp32)) << card.id;
        }
    }
}

TEST(GpuFigures, DataSheetVerdictsHold) {
    EXPECT_DOUBLE_EQ(tflops("H100", DType::bfloat16), 989.4);
    EXPECT_DOUBLE_EQ(tflops("H100-PCIe", DType::bfloat16), 756);
    EXPECT_DOUBLE_EQ(tflops("H100-NVL", DType::bfloat16), 835.5);
    EXPECT_DOUBLE_EQ(tflops("B200", DType::bfloat16), 2250);
    EXPECT_DOUBLE_EQ(tflops("GB200", DType::bfloat16), 2500);
    EXPECT_DOUBLE_EQ(tflops("GB300", DType::bfloat16), 2500);
    EXPECT_DOUBLE_EQ(tflops("A100", DType::float32), 19.5);
    EXPECT_DOUBLE_EQ(tflops("RTX-4090", DType::bfloat16), 165.2) << "fp32 accumulation";
    EXPECT_DOUBLE_EQ(tflops("RTX-3090", DType::float16), 71) << "fp32 accumulation";
    EXPECT_DOUBLE_EQ(tflops("MI250X", DType::bfloat16), 2 * tflops("MI250X-GCD", DType::bfloat16));
    EXPECT_DOUBLE_EQ(gpu("B200").memory_gb, 180);
    EXPECT_DOUBLE_EQ(gpu("A800").link_bytes_per_s, 200e9);
}

TEST(GpuFigures, SparseFiguresNeverAppear) {
    EXPECT_DOUBLE_EQ(tflops("H100-SXM", DType::float8), 1979) << "3958 is 2:4-sparse";
    EXPECT_DOUBLE_EQ(tflops("B200-SXM", DType::float4), 9000) << "18000 is 2:4-sparse";
    EXPECT_DOUBLE_EQ(tflops("L40S", DType::float8), 733) << "1466 is 2:4-sparse";
    EXPECT_DOUBLE_EQ(tflops("GB10", DType::float4), 500) << "1000 is 2:4-sparse";
    EXPECT_DOUBLE_EQ(tflops("RTX-5070", DType::float4), 493.5) << "988 is 2:4-sparse";
    EXPECT_DOUBLE_EQ(tflops("Trainium3", DType::bfloat16), 671) << "2517 is sparse";
    // Matrix units run at most twice as fast from one type to the next narrower one, Blackwell
    // Ultra's fp4 three times as fast as its fp8. A sparse slip would be twice that. int8 stands in
    // for fp8 before fp4: consumer cards halve fp8 when they accumulate in fp32, and fp4 not.
    for (const Gpu& row : GpuTable::builtin().gpus()) {
        if (!has(row, DType::bfloat16)) continue;
        const double bf16 = peak_flops(row, DType::bfloat16);
        if (has(row, DType::float8)) {
            // Its block-scaled units are of their own; AWS prints 2517 next to 671.
            const double limit = row.id == "Trainium3" ? 3.76 : 2.03;
            EXPECT_LE(peak_flops(row, DType::float8), limit * bf16) << row.id;
        }
        if (has(row, DType::float4)) {
            const double limit = has(row, DType::int8) ? 2.01 * peak_flops(row, DType::int8)
                                                       : 3.01 * peak_flops(row, DType::float8);
            EXPECT_LE(peak_flops(row, DType::float4), limit) << row.id;
        }
        if (has(row, DType::tf32)) {
            EXPECT_LE(peak_flops(row, DType::tf32), 1.01 * bf16) << row.id;
        }
    }
}

TEST(GpuFigures, Fp8IsTwiceBf16WhereTheHardwareSaysSo) {
    std::size_t checked = 0;
    for (const Gpu& row : GpuTable::builtin().gpus()) {
        const bool is_hopper_or_later = row.compute_capability == "9.0" ||
                                        row.compute_capability.starts_with("10.") ||
                                        row.compute_capability.starts_with("12.");
        const bool is_ada = row.compute_capability == "8.9";
        const bool is_mi300 = row.compute_capability.starts_with("gfx94") ||
                              row.compute_capability.starts_with("gfx95");
        if (!is_hopper_or_later && !is_ada && !is_mi300) continue;
        // Printed figures are rounded to whole TFLOP/s; the L40S sheet prints its own 1.2 % more.
        const double tolerance = row.id == "L40S" ? 0.015 : 0.004;
        EXPECT_NEAR(peak_flops(row, DType::float8) / peak_flops(row, DType::bfloat16), 2,
                    2 * tolerance)
            << row.id;
        ++checked;
    }
    EXPECT_GE(checked, 20U);
}

TEST(GpuFigures, BothSixteenBitTypesRunAtTheSameRate) {
    for (const Gpu& row : GpuTable::builtin().gpus()) {
        if (row.id == "Gaudi3") continue;  // fp16 runs at the tf32 rate there
        if (!has(row, DType::bfloat16) || !has(row, DType::float16)) continue;
        EXPECT_DOUBLE_EQ(peak_flops(row, DType::bfloat16), peak_flops(row, DType::float16))
            << row.id;
    }
}

TEST(GpuFigures, UnpublishedAndMissingTypesHaveNoFigure) {
    for (const std::string_view name : {"V100", "V100-PCIe-16GB", "V100S", "T4"}) {
        EXPECT_FALSE(has(gpu(name), DType::bfloat16)) << name;
        EXPECT_FALSE(has(gpu(name), DType::tf32)) << name;
    }
    for (const std::string_view name : {"B300", "GB300"}) {
        EXPECT_FALSE(has(gpu(name), DType::int8)) << name;
        EXPECT_THAT(gpu(name).note, testing::HasSubstr("int8")) << name;
    }
    EXPECT_FALSE(has(gpu("A100"), DType::float8));
    EXPECT_FALSE(has(gpu("H100"), DType::float4));
}

TEST(GpuFigures, EveryGroupOfFiguresHasASource) {
    for (const Gpu& row : GpuTable::builtin().gpus()) {
        std::set<std::string> groups;
        for (const auto& [group, citation] : row.sources) {
            EXPECT_FALSE(citation.empty()) << row.id;
            groups.insert(group);
        }
        EXPECT_TRUE(groups.contains("peaks")) << row.id;
        EXPECT_TRUE(groups.contains("memory")) << row.id;
        EXPECT_TRUE(groups.contains("link")) << row.id;
        EXPECT_EQ(groups.contains("tdp"), row.tdp_watts.has_value()) << row.id;
    }
}

TEST(GpuFigures, TableIsCompleteAndEveryRowIsPlausible) {
    EXPECT_GE(GpuTable::builtin().gpus().size(), 90U);
    for (const Gpu& row : GpuTable::builtin().gpus()) {
        // Units: a slip by a factor of 1000 or 8 leaves these ranges.
        EXPECT_GE(row.memory_gb, 8) << row.id;
        EXPECT_LT(row.memory_gb, 500) << row.id;
        EXPECT_GT(row.memory_bandwidth_bytes_per_s, 250e9) << row.id;
        EXPECT_LT(row.memory_bandwidth_bytes_per_s, 25e12) << row.id;
        EXPECT_GE(row.link_bytes_per_s, 16e9) << row.id;
        const double fastest_link = row.id == "Trainium3" ? 1280e9 : 900e9;
        EXPECT_LE(row.link_bytes_per_s, fastest_link) << row.id << ": one direction";
        if (row.tdp_watts) {
            EXPECT_GE(*row.tdp_watts, 70) << row.id;
            EXPECT_LE(*row.tdp_watts, 1500) << row.id;
        }
        EXPECT_GE(static_cast<double>(row.usable_memory_bytes), 0.9 * row.memory_gb * 1e9)
            << row.id;
        EXPECT_LE(static_cast<double>(row.usable_memory_bytes), row.memory_gb * 1073741824.0)
            << row.id;
    }
}

TEST(GpuFigures, RowsThatTrainCannotRunAreMarked) {
    for (const Gpu& row : GpuTable::builtin().gpus()) {
        // docs/cuda.md: compute capability 8.0 and up.
        const bool runs = row.vendor == "NVIDIA" && std::stod(row.compute_capability) >= 8.0;
        EXPECT_EQ(row.plan_only, !runs) << row.id;
    }
}

TEST(GpuFigures, UsableMemoryIsTheDriversWhereKnown) {
    EXPECT_EQ(gpu("H100").usable_memory_bytes, 81080ULL << 20U);
    EXPECT_EQ(gpu("A100-PCIe-40").usable_memory_bytes, 40ULL << 30U) << "no driver figure: GiB";
}

TEST(GpuFigures, BuiltinTableIsTheShippedFile) {
    const std::filesystem::path path =
        std::filesystem::path(ISOFLOP_SOURCE_DIR) / "configs" / "gpus.jsonc";
    EXPECT_EQ(GpuTable::from_file(path).gpus(), GpuTable::builtin().gpus());
}

}  // namespace
}  // namespace isoflop::hardware
