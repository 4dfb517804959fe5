// attention_backend=auto: the table, the probe and its file, and what a checkpoint says.
#include "isoflop/attention_lab/attention_choice.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "isoflop/attention_lab/attention_probe.hpp"
#include "isoflop/base/error.hpp"
#include "support/train_runs.hpp"

namespace isoflop::attention_lab {
namespace {

using cost::AttentionBackend;
using test::Overrides;
using test::plan_of;
using test::tiny_run;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;

device::DeviceInfo gpu_of(int major, int minor) {
    device::DeviceInfo info;
    info.capability_major = major;
    info.capability_minor = minor;
    return info;
}

class AttentionChoiceTest : public ::testing::Test {
protected:
    AttentionChoiceTest()
        : folder_(std::filesystem::temp_directory_path() /
                  ("isoflop_attention_choice_" + std::to_string(getpid()))) {
        std::filesystem::remove_all(folder_);
    }
    ~AttentionChoiceTest() override { std::filesystem::remove_all(folder_); }

    [[nodiscard]] recipe::Recipe config(Overrides more = {}) const {
        more.push_back("out_dir=" + folder_.string());
        return test::config_of(tiny_run(std::move(more)));
    }
    [[nodiscard]] AttentionDecision decide(
        const recipe::Recipe& of, const std::optional<AttentionDecision>& earlier = {},
        const std::function<bool(AttentionBackend)>& fits = [](AttentionBackend) { return true; }) {
        return decide_attention(of, context_, earlier, fits);
    }
    [[nodiscard]] std::filesystem::path cache_file() const { return folder_ / kProbeCacheName; }

    std::filesystem::path folder_;
    device::ThreadPool pool_{1};
    device::Context context_{pool_};
};

TEST_F(AttentionChoiceTest, TheTablePrefersByArchitecture) {
    using recipe::preferred_backends;
    for (const auto& [major, minor] : {std::pair(9, 0), std::pair(10, 0), std::pair(10, 3)}) {
        EXPECT_EQ(preferred_backends({major, minor}).front(), AttentionBackend::sdpa)
            << major << minor;
    }
    for (const auto& [major, minor] :
         {std::pair(8, 0), std::pair(8, 6), std::pair(8, 9), std::pair(12, 0)}) {
        EXPECT_EQ(preferred_backends({major, minor}).front(), AttentionBackend::flash_attn_2)
            << major << minor;
    }
    EXPECT_THAT(preferred_backends(),
                ElementsAre(AttentionBackend::flash_attn_2, AttentionBackend::sdpa,
                            AttentionBackend::manual));
}

TEST_F(AttentionChoiceTest, AutoIsTheDefaultAndAPlanTakesTheTable) {
    const recipe::RunPlan plan = plan_of(tiny_run());
    EXPECT_EQ(plan.attention.requested, recipe::AttentionChoice::automatic);
    EXPECT_EQ(plan.attention.used, AttentionBackend::flash_attn_2);
    EXPECT_EQ(plan.attention.reason, "table: flash_attn_2 first on a CPU");
    EXPECT_EQ(plan.attention.explanation(), "auto: table: flash_attn_2 first on a CPU");
}

TEST_F(AttentionChoiceTest, TheTableFallsBackWithTheReason) {
    const recipe::RunPlan plan = plan_of(tiny_run({"disable_backends=flash_attn_2"}));
    EXPECT_EQ(plan.attention.used, AttentionBackend::sdpa);
    EXPECT_EQ(plan.attention.reason, "table: flash_attn_2 first on a CPU; flash_attn_2: disabled");
    EXPECT_THROW((void)plan_of(tiny_run({"disable_backends=flash_attn_2,sdpa,manual"})),
                 ConfigError);
}

TEST_F(AttentionChoiceTest, OnHopperTheTableGoesFromSdpaToFlashAttention) {
    const device::DeviceInfo hopper = gpu_of(9, 0);
    recipe::Recipe on_gpu = config({"device=cuda", "head_dim=64", "disable_backends=sdpa"});
    const AttentionDecision decision = decide_by_table(on_gpu, &hopper);
    EXPECT_EQ(decision.used, AttentionBackend::flash_attn_2);
    EXPECT_EQ(decision.reason, "table: sdpa first on sm_90; sdpa: disabled");
}

TEST_F(AttentionChoiceTest, ARequestIsKept) {
    const recipe::RunPlan plan = plan_of(tiny_run({"attention_backend=manual"}));
    EXPECT_EQ(plan.attention.used, AttentionBackend::manual);
    EXPECT_EQ(plan.attention.explanation(), "as requested");
    const recipe::RunPlan other =
        plan_of(tiny_run({"attention_backend=sdpa", "disable_backends=sdpa"}));
    EXPECT_EQ(other.attention.explanation(), "requested sdpa: sdpa: disabled");
}

TEST_F(AttentionChoiceTest, ReproducibleRunsAndTheKeyTurnTheProbeOff) {
    EXPECT_EQ(decide(config()).reason, "table: flash_attn_2 first on a CPU (reproducible)");
    EXPECT_EQ(decide(config({"reproducible=false", "auto_probe=false"})).reason,
              "table: flash_attn_2 first on a CPU (auto_probe=false)");
    EXPECT_FALSE(std::filesystem::exists(folder_));
}

TEST_F(AttentionChoiceTest, AProbeTakesTheFastestAndIsKept) {
    const recipe::Recipe timed = config({"reproducible=false"});
    const AttentionDecision first = decide(timed);
    EXPECT_THAT(first.reason, StartsWith("measured: "));
    for (const std::string_view name : all_names<AttentionBackend>())
        EXPECT_THAT(first.reason, HasSubstr(" ms " + std::string(name)));
    EXPECT_EQ(first.device, describe_device(context_));
    nlohmann::ordered_json json = nlohmann::ordered_json::parse(std::ifstream(cache_file()));
    auto& entry = json.at("milliseconds").front();
    entry["flash_attn_2"] = 3.0;
    entry["sdpa"] = 1.0;
    entry["manual"] = 2.0;
    std::ofstream(cache_file()) << json;

    const AttentionDecision second = decide(timed);
    EXPECT_EQ(second.used, AttentionBackend::sdpa);
    EXPECT_EQ(second.reason, "measured: 3 ms flash_attn_2, 1 ms sdpa, 2 ms manual (cached)");
    const AttentionDecision third = decide(config({"reproducible=false", "disable_backends=sdpa"}));
    EXPECT_EQ(third.used, AttentionBackend::manual) << third.reason;
    EXPECT_THAT(decide(config({"reproducible=false", "block_size=8"})).reason,
                ::testing::Not(HasSubstr("cached")));
}

TEST_F(AttentionChoiceTest, WhatDoesNotFitIsLeftOut) {
    const auto all_but_manual = [](AttentionBackend backend) {
        return backend != AttentionBackend::manual;
    };
    const AttentionDecision decision = decide(config({"reproducible=false"}), {}, all_but_manual);
    EXPECT_NE(decision.used, AttentionBackend::manual);
    EXPECT_THAT(decision.reason, HasSubstr("; manual would not fit in memory"));
    const AttentionDecision only =
        decide(config({"reproducible=false", "disable_backends=sdpa"}), {}, all_but_manual);
    EXPECT_THAT(only.reason, StartsWith("the only one that runs here"));
    const AttentionDecision none =
        decide(config({"reproducible=false"}), {}, [](AttentionBackend) { return false; });
    EXPECT_THAT(none.reason, StartsWith("table: "));
}

TEST_F(AttentionChoiceTest, ACheckpointsDecisionStandsOnItsDevice) {
    const AttentionDecision earlier{AttentionBackend::manual, "measured: then",
                                    describe_device(context_)};
    const auto restored = attention_decision_from_json(to_json(earlier));
    ASSERT_TRUE(restored);
    EXPECT_EQ(decide(config({"reproducible=false"}), restored).reason, "measured: then");
    EXPECT_EQ(decide(config(), restored).used, AttentionBackend::manual);
    AttentionDecision elsewhere = earlier;
    elsewhere.device = "another";
    EXPECT_EQ(decide(config(), elsewhere).used, AttentionBackend::flash_attn_2);
    EXPECT_EQ(decide(config({"disable_backends=manual"}), earlier).used,
              AttentionBackend::flash_attn_2);
    EXPECT_FALSE(attention_decision_from_json(nullptr));
    EXPECT_FALSE(attention_decision_from_json({{"used", "magic"}}));
    EXPECT_FALSE(attention_decision_from_json({{"used", 3}}));
}

TEST_F(AttentionChoiceTest, ADamagedFileIsIgnoredWithAWarning) {
    std::filesystem::create_directories(folder_);
    for (const char* text : {"", "{", "[]", "{\"program\": 3}", "null"}) {
        std::ofstream(cache_file()) << text;
        ::testing::internal::CaptureStderr();
        EXPECT_FALSE(ProbeCache(cache_file()).find("key")) << text;
        EXPECT_THAT(::testing::internal::GetCapturedStderr(), HasSubstr("is damaged and ignored"))
            << text;
    }
    std::ofstream(cache_file())
        << R"({"program": "another", "milliseconds": {"key": {"sdpa": 1}}})";
    EXPECT_FALSE(ProbeCache(cache_file()).find("key"));
    ProbeCache(cache_file()).store("key", {{AttentionBackend::sdpa, 1.5}});
    EXPECT_THAT(*ProbeCache(cache_file()).find("key"),
                ElementsAre(std::pair(AttentionBackend::sdpa, 1.5)));
    EXPECT_FALSE(ProbeCache(cache_file()).find("other key"));
}

TEST_F(AttentionChoiceTest, LargeShapesAreProbedInPartOrNotAtAll) {
    attention::Shape shape = attention_shape(config());
    shape.heads = 32;
    shape.kv_heads = 8;
    shape.head_dim = 64;
    shape.batch = 64;
    shape.query_length = shape.key_length = 256;
    const auto part = probe_shape(shape, context_);
    ASSERT_TRUE(part);
    EXPECT_LT(part->batch * part->heads, shape.batch * shape.heads);
    EXPECT_EQ(part->query_length, 256);
    EXPECT_EQ(part->heads / part->kv_heads, 4);
    shape.query_length = shape.key_length = 1 << 17;
    EXPECT_FALSE(probe_shape(shape, context_));
}

}  // namespace
}  // namespace isoflop::attention_lab
