// What each launcher sets, and what happens when it is half of that.
#include "isoflop/comm/launch.hpp"

#include <gmock/gmock.h>

#include <map>

#include "comm/launch_environment.hpp"
#include "isoflop/base/error.hpp"

namespace isoflop::comm {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using Variables = std::map<std::string, std::string, std::less<>>;

LaunchInfo launch(const Variables& variables) {
    return launch_from([&](std::string_view name) -> std::optional<std::string> {
        const auto found = variables.find(name);
        if (found == variables.end()) return std::nullopt;
        return found->second;
    });
}

std::string refusal(const Variables& variables) {
    try {
        static_cast<void>(launch(variables));
    } catch (const ConfigError& error) {
        return error.what();
    }
    return "accepted";
}

Variables with(Variables variables, const Variables& changes) {
    for (const auto& [name, value] : changes) variables[name] = value;
    return variables;
}
Variables without(Variables variables, std::string_view name) {
    variables.erase(variables.find(name));
    return variables;
}

const Variables kTorchrun{{"RANK", "5"},
                          {"WORLD_SIZE", "8"},
                          {"LOCAL_RANK", "1"},
                          {"LOCAL_WORLD_SIZE", "4"},
                          {"MASTER_ADDR", "node1"},
                          {"MASTER_PORT", "29500"}};
const Variables kOpenMpi{{"OMPI_COMM_WORLD_RANK", "1"},
                         {"OMPI_COMM_WORLD_SIZE", "2"},
                         {"OMPI_COMM_WORLD_LOCAL_RANK", "1"},
                         {"OMPI_COMM_WORLD_LOCAL_SIZE", "2"},
                         {"PMIX_NAMESPACE", "130875393"}};
const Variables kSrun{{"SLURM_PROCID", "3"},
                      {"SLURM_NTASKS", "4"},
                      {"SLURM_LOCALID", "1"},
                      {"SLURM_NODEID", "1"},
                      {"SLURM_TASKS_PER_NODE", "2(x2)"},
                      {"SLURM_NNODES", "2"},
                      {"SLURM_NODELIST", "gpu[07-08]"},
                      {"SLURM_JOB_ID", "123456"}};

TEST(Launch, NothingSetIsOneRank) {
    const LaunchInfo info = launch({});
    EXPECT_EQ(info.rank, 0);
    EXPECT_EQ(info.world_size, 1);
    EXPECT_EQ(info.launcher, "none");
}

TEST(Launch, ReadsTorchrun) {
    const LaunchInfo info = launch(kTorchrun);
    EXPECT_EQ(info.rank, 5);
    EXPECT_EQ(info.world_size, 8);
    EXPECT_EQ(info.local_rank, 1);
    EXPECT_EQ(info.local_world_size, 4);
    EXPECT_EQ(info.master_address, "node1");
    EXPECT_EQ(info.master_port, 29500);
    EXPECT_EQ(info.launcher, "torchrun");
    EXPECT_EQ(launch(with(kTorchrun, {{"ISOFLOP_LAUNCHER", "train"}})).launcher, "train");
}

TEST(Launch, LeavesMasterPortToTheStoreOfTorchrunsAgent) {
    const auto port = [](const char* shares, const char* given) {
        return launch(with(kTorchrun,
                           {{"TORCHELASTIC_USE_AGENT_STORE", shares}, {"MASTER_PORT", given}}))
            .master_port;
    };
    EXPECT_EQ(port("True", "29500"), 29501);
    EXPECT_EQ(port("True", "65535"), 65534);
    EXPECT_EQ(port("False", "29500"), 29500);
}

TEST(Launch, HalfSetTorchrunNamesWhatIsMissing) {
    for (const auto* name : {"WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"}) {
        EXPECT_THAT(refusal(without(kTorchrun, name)),
                    HasSubstr(std::string("but not ") + name + ";"));
    }
    EXPECT_THAT(refusal(without(kTorchrun, "RANK")), HasSubstr("but not RANK;"));
    EXPECT_THAT(refusal({{"MASTER_ADDR", "node1"}}), HasSubstr("MASTER_ADDR is set, but not RANK"));
    EXPECT_THAT(refusal(with(kTorchrun, {{"MASTER_ADDR", ""}})), HasSubstr("but not MASTER_ADDR"));
    EXPECT_EQ(launch(without(kTorchrun, "LOCAL_WORLD_SIZE")).local_world_size, 1);
}

TEST(Launch, OneRankNeedsNoMaster) {
    EXPECT_EQ(launch({{"RANK", "0"}, {"WORLD_SIZE", "1"}}).world_size, 1);
}

TEST(Launch, RefusesWhatIsNoNumberOrOutOfRange) {
    EXPECT_THAT(refusal(with(kTorchrun, {{"RANK", "two"}})),
                HasSubstr("RANK='two' is not a whole number"));
    EXPECT_THAT(refusal(with(kTorchrun, {{"RANK", "1.5"}})), HasSubstr("not a whole number"));
    EXPECT_THAT(refusal(with(kTorchrun, {{"RANK", "-1"}})), HasSubstr("out of range"));
    EXPECT_THAT(refusal(with(kTorchrun, {{"WORLD_SIZE", "0"}})), HasSubstr("out of range"));
    EXPECT_THAT(refusal(with(kTorchrun, {{"WORLD_SIZE", "99999999999"}})),
                HasSubstr("out of range"));
    EXPECT_THAT(refusal(with(kTorchrun, {{"MASTER_PORT", "65536"}})),
                HasSubstr("MASTER_PORT=65536 is out of range: 1 to 65535"));
}

TEST(Launch, RefusesContradictions) {
    EXPECT_THAT(refusal(with(kTorchrun, {{"RANK", "8"}})),
                HasSubstr("RANK=8 contradicts WORLD_SIZE=8"));
    EXPECT_THAT(refusal(with(kTorchrun, {{"LOCAL_RANK", "4"}})),
                HasSubstr("LOCAL_RANK=4 contradicts LOCAL_WORLD_SIZE=4"));
    EXPECT_THAT(refusal(with(kTorchrun, {{"LOCAL_WORLD_SIZE", "9"}})),
                HasSubstr("LOCAL_WORLD_SIZE=9 contradicts WORLD_SIZE=8"));
    EXPECT_THAT(refusal(with(kOpenMpi, {{"WORLD_SIZE", "3"}})),
                HasSubstr("WORLD_SIZE=3 contradicts OMPI_COMM_WORLD_SIZE=2"));
}

TEST(Launch, MpirunLeavesTheAddressToMpiAndAgreesOnAPort) {
    const LaunchInfo info = launch(kOpenMpi);
    EXPECT_EQ(info.rank, 1);
    EXPECT_EQ(info.world_size, 2);
    EXPECT_EQ(info.local_world_size, 2);
    EXPECT_EQ(info.launcher, "mpirun");
    EXPECT_EQ(info.master_address, "");
    const LaunchInfo other = launch(
        with(kOpenMpi, {{"OMPI_COMM_WORLD_RANK", "0"}, {"OMPI_COMM_WORLD_LOCAL_RANK", "0"}}));
    EXPECT_EQ(info.master_port, other.master_port);
    EXPECT_GE(info.master_port, 1024);
    EXPECT_EQ(launch(without(kOpenMpi, "PMIX_NAMESPACE")).master_port, 0);
}

TEST(Launch, MpirunTakesAGivenMaster) {
    const LaunchInfo info =
        launch(with(kOpenMpi, {{"MASTER_ADDR", "::1"}, {"MASTER_PORT", "29500"}}));
    EXPECT_EQ(info.master_address, "::1");
    EXPECT_EQ(info.master_port, 29500);
    EXPECT_THAT(refusal(with(kOpenMpi, {{"MASTER_ADDR", "node1"}})),
                HasSubstr("but not MASTER_PORT"));
    EXPECT_THAT(refusal(without(kOpenMpi, "OMPI_COMM_WORLD_SIZE")),
                HasSubstr("but not OMPI_COMM_WORLD_SIZE"));
}

TEST(Launch, ReadsPmi) {
    const LaunchInfo info =
        launch({{"PMI_RANK", "2"}, {"PMI_SIZE", "4"}, {"MPI_LOCALRANKID", "2"}});
    EXPECT_EQ(info.rank, 2);
    EXPECT_EQ(info.world_size, 4);
    EXPECT_EQ(info.local_rank, 2);
    EXPECT_EQ(info.launcher, "mpirun");
    EXPECT_THAT(refusal({{"PMI_RANK", "2"}}), HasSubstr("but not PMI_SIZE"));
}

TEST(Launch, ReadsSrun) {
    const LaunchInfo info = launch(kSrun);
    EXPECT_EQ(info.rank, 3);
    EXPECT_EQ(info.world_size, 4);
    EXPECT_EQ(info.local_rank, 1);
    EXPECT_EQ(info.local_world_size, 2);
    EXPECT_EQ(info.master_address, "gpu07");
    EXPECT_GE(info.master_port, 15000);
    EXPECT_LT(info.master_port, 30000);
    EXPECT_NE(info.master_port, launch(with(kSrun, {{"SLURM_JOB_ID", "123457"}})).master_port);
    EXPECT_EQ(info.launcher, "srun");
}

TEST(Launch, SrunOnOneNodeNeedsNoNameService) {
    const LaunchInfo info = launch(with(kSrun, {{"SLURM_NNODES", "1"}}));
    EXPECT_EQ(info.master_address, "127.0.0.1");
    EXPECT_EQ(info.local_world_size, 4);
}

TEST(Launch, HalfSetSrunNamesWhatIsMissing) {
    EXPECT_THAT(refusal(without(kSrun, "SLURM_NTASKS")), HasSubstr("but not SLURM_NTASKS"));
    EXPECT_THAT(refusal(without(kSrun, "SLURM_LOCALID")), HasSubstr("but not SLURM_LOCALID"));
    EXPECT_THAT(refusal(without(kSrun, "SLURM_JOB_ID")), HasSubstr("but not SLURM_JOB_ID"));
    EXPECT_THAT(refusal(without(kSrun, "SLURM_NODELIST")), HasSubstr("but not SLURM_NODELIST"));
    EXPECT_THAT(refusal(with(kSrun, {{"SLURM_PROCID", "4"}})),
                HasSubstr("SLURM_PROCID=4 contradicts SLURM_NTASKS=4"));
}

TEST(Launch, ShellsOfSlurmJobsAreOneRank) {
    Variables salloc = without(without(kSrun, "SLURM_PROCID"), "SLURM_LOCALID");
    salloc["MASTER_ADDR"] = "gpu07";  // exported for a later srun
    EXPECT_EQ(launch(salloc).world_size, 1);
    const Variables batch = with(kSrun, {{"SLURM_PROCID", "0"}, {"ENVIRONMENT", "BATCH"}});
    EXPECT_EQ(launch(batch).world_size, 1);
    EXPECT_EQ(launch(with(batch, {{"SLURM_STEP_ID", "0"}, {"SLURM_LOCALID", "0"}})).world_size, 4);
    EXPECT_EQ(launch(with(kSrun, {{"SLURM_PROCID", "0"},
                                  {"SLURM_LOCALID", "0"},
                                  {"SLURM_NODEID", "0"},
                                  {"SLURM_STEP_NUM_NODES", "1"},
                                  {"SLURM_STEP_NUM_TASKS", "1"}}))
                  .world_size,
              1);
}

TEST(Launch, TheInnermostLauncherWins) {
    EXPECT_EQ(launch(with(kSrun, kTorchrun)).launcher, "torchrun");
    EXPECT_EQ(launch(with(kSrun, kOpenMpi)).launcher, "mpirun");
    EXPECT_EQ(launch(with(kSrun, {{"PMI_RANK", "3"}, {"PMI_SIZE", "4"}})).launcher, "srun");
    EXPECT_EQ(launch(with(kSrun, {{"PMI_RANK", "3"}, {"PMI_SIZE", "8"}})).launcher, "mpirun");
}

TEST(Launch, UnfoldsSlurmLists) {
    EXPECT_EQ(first_slurm_host("node7"), "node7");
    EXPECT_EQ(first_slurm_host("node7,node8"), "node7");
    EXPECT_EQ(first_slurm_host("node[01-04,07],gpu3"), "node01");
    EXPECT_EQ(first_slurm_host("r[3,5]n[10-12].cluster"), "r3n10.cluster");
    EXPECT_EQ(first_slurm_host("node[01"), "");
    EXPECT_EQ(slurm_tasks_of_node("4(x2),3", 1), 4);
    EXPECT_EQ(slurm_tasks_of_node("4(x2),3", 2), 3);
    EXPECT_EQ(slurm_tasks_of_node("4(x2),3", 3), std::nullopt);
    EXPECT_EQ(slurm_tasks_of_node("4(x2", 0), std::nullopt);
    EXPECT_EQ(slurm_tasks_of_node("", 0), std::nullopt);
}

TEST(Launch, TheTokenOfTheJobIsReadAndNeverShown) {
    const std::string token = "0123456789abcdef";
    EXPECT_EQ(launch(with(kTorchrun, {{"ISOFLOP_JOB_TOKEN", token}})).job_token, token);
    EXPECT_EQ(launch(with(kOpenMpi, {{"ISOFLOP_JOB_TOKEN", token}})).job_token, token);
    EXPECT_EQ(launch(with(kTorchrun, {{"ISOFLOP_JOB_TOKEN", ""}})).job_token, "");
    EXPECT_EQ(launch(kTorchrun).job_token, "");
    EXPECT_THAT(refusal(with(kTorchrun, {{"ISOFLOP_JOB_TOKEN", "too short"}})),
                AllOf(HasSubstr("ISOFLOP_JOB_TOKEN has 9 characters"), HasSubstr("openssl rand"),
                      testing::Not(HasSubstr("too short"))));
}

TEST(Launch, JobsHaveTheNamesOfTheirLaunchers) {
    EXPECT_EQ(launch(kSrun).job_name, "123456.");
    EXPECT_EQ(launch(with(kSrun, {{"SLURM_STEP_ID", "7"}})).job_name, "123456.7");
    EXPECT_EQ(launch(kOpenMpi).job_name, "130875393");
    EXPECT_EQ(launch(with(kTorchrun, {{"TORCHELASTIC_RUN_ID", "none"}})).job_name, "none");
    EXPECT_EQ(launch(kTorchrun).job_name, "");
}

}  // namespace
}  // namespace isoflop::comm
