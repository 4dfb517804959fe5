// Each launcher sets its own variables, and launchers nest: torchrun inside srun, mpirun inside
// sbatch. The innermost launcher started this process, so its variables take precedence, in this
// order: RANK (torchrun, the built-in launcher), Open MPI, SLURM's when they describe this process,
// PMI, nothing.
#include "isoflop/comm/launch.hpp"

#include <fmt/format.h>

#include <charconv>
#include <cstdlib>
#include <initializer_list>
#include <limits>
#include <vector>

#include "comm/launch_environment.hpp"
#include "isoflop/base/checksum.hpp"
#include "isoflop/base/error.hpp"
#include "isoflop/base/text.hpp"

namespace isoflop::comm {
namespace {

/// Ports that a job id is mapped to: above the registered services that clusters run, below the
/// range (32768 and up) from which the system takes ports of outgoing connections.
constexpr int kFirstDerivedPort = 15000;
constexpr int kDerivedPorts = 15000;
/// A stranger can try short tokens until one fits.
constexpr std::size_t kShortestToken = 16;

using NameList = std::initializer_list<std::string_view>;

class Environment {
public:
    explicit Environment(const EnvironmentLookup& lookup) : lookup_(lookup) {}

    [[nodiscard]] std::optional<std::string> text(std::string_view name) const {
        auto value = lookup_(name);
        if (value && value->empty()) return std::nullopt;
        return value;
    }
    [[nodiscard]] bool has(std::string_view name) const { return text(name).has_value(); }
    [[nodiscard]] bool has_any(NameList names) const {
        for (const std::string_view name : names) {
            if (has(name)) return true;
        }
        return false;
    }

    [[nodiscard]] std::optional<int> number(std::string_view name, int lowest = 0,
                                            int highest = std::numeric_limits<int>::max()) const {
        const auto value = text(name);
        if (!value) return std::nullopt;
        int parsed = 0;
        const char* end = value->data() + value->size();
        const auto result = std::from_chars(value->data(), end, parsed);
        if (result.ec == std::errc::invalid_argument || result.ptr != end) {
            throw ConfigError(fmt::format("{}='{}' is not a whole number", name, *value));
        }
        if (result.ec != std::errc{} || parsed < lowest || parsed > highest) {
            throw ConfigError(
                fmt::format("{}={} is out of range: {} to {}", name, *value, lowest, highest));
        }
        return parsed;
    }

private:
    const EnvironmentLookup& lookup_;
};

/// The variables of one launcher for the same four numbers.
struct Names {
    std::string_view launcher;
    std::string_view rank;
    std::string_view world_size;
    std::string_view local_rank;
    std::string_view local_world_size;
};
constexpr Names kTorchrun{"torchrun", "RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"};
constexpr Names kOpenMpi{"mpirun", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE",
                         "OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_SIZE"};
constexpr Names kPmi{"mpirun", "PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID", "MPI_LOCALNRANKS"};

[[noreturn]] void refuse_half_set(std::string_view launcher,
                                  const std::vector<std::string_view>& present,
                                  const std::vector<std::string_view>& missing,
                                  std::string_view advice) {
    throw ConfigError(fmt::format("half-set environment of {}: {} {} set, but not {}; {}", launcher,
                                  join(present), present.size() == 1 ? "is" : "are", join(missing),
                                  advice));
}

/// Throws when one of the names is not set.
void require_all(const Environment& environment, std::string_view launcher, NameList names,
                 std::string_view advice) {
    std::vector<std::string_view> present;
    std::vector<std::string_view> missing;
    for (const std::string_view name : names) {
        (environment.has(name) ? present : missing).push_back(name);
    }
    if (!missing.empty()) refuse_half_set(launcher, present, missing, advice);
}

void check_ranges(const LaunchInfo& info, const Names& names, bool local_size_known) {
    if (info.rank >= info.world_size) {
        throw ConfigError(fmt::format("{}={} contradicts {}={}: ranks are 0 to {}", names.rank,
                                      info.rank, names.world_size, info.world_size,
                                      info.world_size - 1));
    }
    if (local_size_known && info.local_rank >= info.local_world_size) {
        throw ConfigError(fmt::format("{}={} contradicts {}={}: local ranks are 0 to {}",
                                      names.local_rank, info.local_rank, names.local_world_size,
                                      info.local_world_size, info.local_world_size - 1));
    }
    if (info.local_rank > info.rank) {
        throw ConfigError(fmt::format("{}={} contradicts {}={}: the local rank is the larger one",
                                      names.local_rank, info.local_rank, names.rank, info.rank));
    }
    if (info.local_world_size > info.world_size) {
        throw ConfigError(fmt::format(
            "{}={} contradicts {}={}: more ranks on this machine than in "
            "all",
            names.local_world_size, info.local_world_size, names.world_size, info.world_size));
    }
}

/// A WORLD_SIZE that a job script exports for its srun or mpirun must be that of the launcher.
void check_exported_world_size(const Environment& environment, const LaunchInfo& info,
                               std::string_view name) {
    const auto exported = environment.number("WORLD_SIZE", 1);
    if (exported && *exported != info.world_size) {
        throw ConfigError(fmt::format("WORLD_SIZE={} contradicts {}={}; unset WORLD_SIZE",
                                      *exported, name, info.world_size));
    }
}

/// MASTER_ADDR and MASTER_PORT, which override the values of a launcher. False when not set.
bool read_master(const Environment& environment, LaunchInfo& info) {
    if (!environment.has_any({"MASTER_ADDR", "MASTER_PORT"})) return false;
    require_all(environment, info.launcher, {"MASTER_ADDR", "MASTER_PORT"},
                "set both, to the machine of rank 0 and a free port on it, or none");
    info.master_address = *environment.text("MASTER_ADDR");
    info.master_port = *environment.number("MASTER_PORT", 1, 65535);
    return true;
}

LaunchInfo read_numbers(const Environment& environment, const Names& names) {
    LaunchInfo info;
    info.launcher = names.launcher;
    info.rank = *environment.number(names.rank);
    info.world_size = *environment.number(names.world_size, 1);
    info.local_rank = environment.number(names.local_rank).value_or(0);
    const auto local_size = environment.number(names.local_world_size, 1);
    info.local_world_size = local_size.value_or(1);
    check_ranges(info, names, local_size.has_value());
    return info;
}

LaunchInfo from_torchrun(const Environment& environment) {
    constexpr std::string_view kAdvice =
        "set RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR and MASTER_PORT, or unset all of them for "
        "one process";
    require_all(environment, "torchrun", {"RANK", "WORLD_SIZE"}, kAdvice);
    LaunchInfo info = read_numbers(environment, kTorchrun);
    if (environment.text("ISOFLOP_LAUNCHER") == "train") info.launcher = "train";
    if (info.world_size > 1) {
        require_all(environment, info.launcher,
                    {"RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"}, kAdvice);
    }
    // The agent of torchrun has its own store on MASTER_PORT and tells its workers to share it.
    const bool agent_has_port = environment.text("TORCHELASTIC_USE_AGENT_STORE") == "True";
    if (read_master(environment, info) && agent_has_port)
        info.master_port += info.master_port < 65535 ? 1 : -1;
    return info;
}

int derived_port(std::uint64_t number) {
    return kFirstDerivedPort + static_cast<int>(number % kDerivedPorts);
}

/// Open MPI and PMI. Without MASTER_ADDR the address stays empty, and MPI supplies it. The port is
/// computed from the job, so that ranks on one machine agree on it without communication.
LaunchInfo from_mpirun(const Environment& environment, const Names& names) {
    require_all(environment, "mpirun", {names.rank, names.world_size},
                "start with mpirun, or unset them for one process");
    LaunchInfo info = read_numbers(environment, names);
    check_exported_world_size(environment, info, names.world_size);
    if (read_master(environment, info)) return info;
    for (const auto* name : {"PMIX_NAMESPACE", "OMPI_MCA_ess_base_jobid", "PMI_JOBID"}) {
        const auto job = environment.text(name);
        if (job && info.master_port == 0) info.master_port = derived_port(crc32c(*job));
    }
    return info;
}

// --- SLURM

/// The size of this step: SLURM_NTASKS may be that of the whole job.
std::string_view slurm_size_name(const Environment& environment) {
    return environment.has("SLURM_STEP_NUM_TASKS") ? "SLURM_STEP_NUM_TASKS" : "SLURM_NTASKS";
}

/// Whether srun started this process. The shell of sbatch has SLURM_PROCID=0 too, but is no step
/// (ENVIRONMENT=BATCH, no step id); the shell of salloc has no SLURM_PROCID, or is a step of one.
bool is_slurm_task(const Environment& environment) {
    const bool batch_shell =
        environment.text("ENVIRONMENT") == "BATCH" && !environment.has("SLURM_STEP_ID");
    return environment.has("SLURM_PROCID") && !batch_shell;
}

int slurm_local_size(const Environment& environment, int world_size, bool one_node) {
    if (one_node) return world_size;
    const int node = environment.number("SLURM_NODEID").value_or(0);
    for (const auto* name : {"SLURM_STEP_TASKS_PER_NODE", "SLURM_TASKS_PER_NODE"}) {
        if (const auto tasks = environment.text(name)) {
            if (const auto count = slurm_tasks_of_node(*tasks, node)) return *count;
        }
    }
    return environment.number("SLURM_NTASKS_PER_NODE", 1).value_or(1);
}

std::string slurm_first_host(const Environment& environment) {
    for (const auto* name : {"SLURM_STEP_NODELIST", "SLURM_NODELIST", "SLURM_JOB_NODELIST"}) {
        if (const auto nodes = environment.text(name)) return first_slurm_host(*nodes);
    }
    // Where srun runs, which is the first node inside sbatch.
    return environment.text("SLURM_LAUNCH_NODE_IPADDR").value_or("");
}

void read_slurm_master(const Environment& environment, bool one_node, LaunchInfo& info) {
    if (read_master(environment, info) || info.world_size == 1) return;
    info.master_address = one_node ? "127.0.0.1" : slurm_first_host(environment);
    const auto job = environment.number("SLURM_JOB_ID");
    std::vector<std::string_view> missing;
    if (info.master_address.empty()) missing.emplace_back("SLURM_NODELIST");
    if (!job) missing.emplace_back("SLURM_JOB_ID");
    if (!missing.empty()) {
        refuse_half_set("srun", {"SLURM_PROCID", slurm_size_name(environment)}, missing,
                        "set them, or MASTER_ADDR and MASTER_PORT");
    }
    // Steps of one job may run at the same time; the stride keeps them and neighbouring jobs apart.
    constexpr std::uint64_t kStepStride = 131;
    const std::uint64_t step = crc32c(environment.text("SLURM_STEP_ID").value_or("0"));
    info.master_port = derived_port(static_cast<std::uint64_t>(*job) + kStepStride * step);
}

LaunchInfo from_slurm(const Environment& environment) {
    const std::string_view size_name = slurm_size_name(environment);
    const Names names{"srun", "SLURM_PROCID", size_name, "SLURM_LOCALID", "SLURM_NTASKS_PER_NODE"};
    constexpr std::string_view kAdvice = "start with srun, or unset SLURM_PROCID for one process";
    require_all(environment, "srun", {names.rank, size_name}, kAdvice);
    LaunchInfo info;
    info.launcher = names.launcher;
    info.rank = *environment.number(names.rank);
    info.world_size = *environment.number(size_name, 1);
    if (info.world_size > 1) {
        require_all(environment, "srun", {names.rank, size_name, names.local_rank}, kAdvice);
    }
    const auto nodes = environment.number(
        environment.has("SLURM_STEP_NUM_NODES") ? "SLURM_STEP_NUM_NODES" : "SLURM_NNODES", 1);
    info.local_rank = environment.number(names.local_rank).value_or(0);
    info.local_world_size = slurm_local_size(environment, info.world_size, nodes == 1);
    check_ranges(info, names, info.local_world_size > 1);
    check_exported_world_size(environment, info, size_name);
    read_slurm_master(environment, nodes == 1, info);
    return info;
}

/// srun can set the variables of PMI as well, with the same values. Otherwise mpiexec runs inside a
/// step whose tasks are only its helpers.
bool slurm_and_pmi_agree(const Environment& environment) {
    return environment.text("PMI_RANK") == environment.text("SLURM_PROCID") &&
           environment.text("PMI_SIZE") == environment.text(slurm_size_name(environment));
}

/// What identifies the job to its ranks, and differs from that of other jobs on these machines.
std::string job_name(const Environment& environment, const LaunchInfo& info) {
    if (info.launcher == "srun") {
        return fmt::format("{}.{}", environment.text("SLURM_JOB_ID").value_or(""),
                           environment.text("SLURM_STEP_ID").value_or(""));
    }
    for (const auto* name :
         {"TORCHELASTIC_RUN_ID", "PMIX_NAMESPACE", "OMPI_MCA_ess_base_jobid", "PMI_JOBID"}) {
        if (auto job = environment.text(name)) return *job;
    }
    return {};
}

/// Never part of a message.
std::string job_token(const Environment& environment) {
    std::string token = environment.text("ISOFLOP_JOB_TOKEN").value_or("");
    if (!token.empty() && token.size() < kShortestToken) {
        throw ConfigError(fmt::format(
            "ISOFLOP_JOB_TOKEN has {} characters and needs {} at least; make one with: openssl "
            "rand -hex 32",
            token.size(), kShortestToken));
    }
    return token;
}

LaunchInfo ranks_from(const Environment& environment) {
    if (environment.has("RANK")) return from_torchrun(environment);
    if (environment.has_any({kOpenMpi.rank, kOpenMpi.world_size})) {
        return from_mpirun(environment, kOpenMpi);
    }
    const bool pmi = environment.has_any({kPmi.rank, kPmi.world_size});
    if (is_slurm_task(environment) && (!pmi || slurm_and_pmi_agree(environment))) {
        return from_slurm(environment);
    }
    if (pmi) return from_mpirun(environment, kPmi);
    // A job script exports MASTER_ADDR and the like for the sruns in it; its own shell is one rank.
    const bool in_job = environment.has_any({"SLURM_JOB_ID", "SLURM_JOBID"});
    if (!in_job && environment.has_any({"WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE",
                                        "MASTER_ADDR", "MASTER_PORT"})) {
        require_all(environment, "torchrun",
                    {"RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"},
                    "set the missing variables, or unset the rest for one process");
    }
    return {};
}

}  // namespace

std::string first_slurm_host(std::string_view node_list) {
    std::string host;
    std::size_t at = 0;
    while (at < node_list.size() && node_list[at] != ',') {
        if (node_list[at] != '[') {
            host += node_list[at++];
            continue;
        }
        const std::size_t close = node_list.find(']', at);
        if (close == std::string_view::npos) return {};
        const std::size_t end = node_list.find_first_of(",-]", at);
        host += node_list.substr(at + 1, end - at - 1);
        at = close + 1;
    }
    return host;
}

std::optional<int> slurm_tasks_of_node(std::string_view tasks_per_node, int node) {
    const char* at = tasks_per_node.data();
    const char* const end = at + tasks_per_node.size();
    while (at < end) {
        int tasks = 0;
        int nodes = 1;
        auto parsed = std::from_chars(at, end, tasks);
        if (parsed.ec != std::errc{} || tasks < 1) return std::nullopt;
        at = parsed.ptr;
        if (std::string_view(at, static_cast<std::size_t>(end - at)).starts_with("(x")) {
            parsed = std::from_chars(at + 2, end, nodes);
            if (parsed.ec != std::errc{} || parsed.ptr == end || *parsed.ptr != ')') {
                return std::nullopt;
            }
            at = parsed.ptr + 1;
        }
        if (node < nodes) return tasks;
        node -= nodes;
        if (at < end && *at++ != ',') return std::nullopt;
    }
    return std::nullopt;
}

LaunchInfo launch_from(const EnvironmentLookup& lookup) {
    const Environment environment(lookup);
    LaunchInfo info = ranks_from(environment);
    info.job_token = job_token(environment);
    info.job_name = job_name(environment, info);
    return info;
}

LaunchInfo launch_from_environment() {
    return launch_from([](std::string_view name) -> std::optional<std::string> {
        const char* value = std::getenv(std::string(name).c_str());
        if (value == nullptr) return std::nullopt;
        return std::string(value);
    });
}

}  // namespace isoflop::comm
