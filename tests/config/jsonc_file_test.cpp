// Reading JSONC files: what can be wrong with the file itself.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <thread>

#include "isoflop/base/error.hpp"
#include "isoflop/config/jsonc.hpp"

namespace isoflop::config {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;

class JsoncFile : public ::testing::Test {
protected:
    void SetUp() override {
        std::string pattern = (fs::temp_directory_path() / "isoflop-jsonc-XXXXXX").string();
        ASSERT_NE(mkdtemp(pattern.data()), nullptr);
        folder_ = pattern;
    }
    void TearDown() override { fs::remove_all(folder_); }

    fs::path write(const std::string& name, const std::string& text) const {
        std::ofstream(folder_ / name, std::ios::binary) << text;
        return folder_ / name;
    }

    static std::string message_for(const fs::path& path, JsoncLimits limits = {}) {
        try {
            (void)read_jsonc_file(path, limits);
        } catch (const ConfigError& error) {
            return error.what();
        }
        return "accepted";
    }

    fs::path folder_;
};

TEST_F(JsoncFile, IsReadAndNamed) {
    const fs::path path = write("plan.jsonc", "{\"num_gpus\": 8}");
    const Document document = read_jsonc_file(path);
    EXPECT_EQ(document.file_name, path.string());
    EXPECT_EQ(document.root.find("num_gpus")->as_integer(), 8);
}

TEST_F(JsoncFile, MissingNamesTheNearestFile) {
    write("llama_7b.jsonc", "{}");
    const fs::path path = folder_ / "lama_7b.jsonc";
    EXPECT_EQ(message_for(path), path.string() + ": error: no such file; did you mean '" +
                                     (folder_ / "llama_7b.jsonc").string() + "'?");
}

TEST_F(JsoncFile, MissingWithoutSimilarNamesSaysOnlyThat) {
    const fs::path path = folder_ / "plan.jsonc";
    EXPECT_EQ(message_for(path), path.string() + ": error: no such file");
}

TEST_F(JsoncFile, MissingFolderIsNamedWithTheNearestFolder) {
    fs::create_directory(folder_ / "models");
    const fs::path path = folder_ / "model" / "deep" / "x.jsonc";
    EXPECT_THAT(message_for(path),
                AllOf(HasSubstr("there is no folder '" + (folder_ / "model").string() + "'"),
                      HasSubstr("did you mean '" + (folder_ / "models").string() + "'?")));
}

TEST_F(JsoncFile, MissingInTheCurrentFolderIsReported) {
    EXPECT_THAT(message_for("surely_not_here.jsonc"),
                StartsWith("surely_not_here.jsonc: error: no such file"));
}

TEST_F(JsoncFile, UnderAFileInsteadOfAFolderIsMissing) {
    const fs::path path = write("plan.jsonc", "{}") / "x.jsonc";
    EXPECT_THAT(message_for(path), HasSubstr("error: no such file"));
}

TEST_F(JsoncFile, DirectoryIsRefused) {
    EXPECT_EQ(message_for(folder_), folder_.string() + ": error: this is a directory, not a file");
}

TEST_F(JsoncFile, WithoutPermissionIsRefused) {
    if (geteuid() == 0) GTEST_SKIP() << "root may read everything";
    const fs::path path = write("secret.jsonc", "{}");
    fs::permissions(path, fs::perms::none);
    EXPECT_EQ(message_for(path), path.string() + ": error: cannot be opened: Permission denied");
}

TEST_F(JsoncFile, OverTheLimitIsRefusedBeforeReading) {
    const fs::path path = write("large.jsonc", "{}");
    fs::resize_file(path, 1ULL << 40U);  // sparse: reading its zeros would take minutes
    EXPECT_EQ(message_for(path),
              path.string() + ": error: the file has 1099511627776 bytes; the limit is 16777216");
}

TEST_F(JsoncFile, AtTheLimitIsAccepted) {
    const fs::path path = write("exact.jsonc", "[1, 2]");
    EXPECT_EQ(message_for(path, {.max_bytes = 6}), "accepted");
    EXPECT_THAT(message_for(path, {.max_bytes = 5}), HasSubstr("the limit is 5"));
}

TEST_F(JsoncFile, LargerThanOneReadIsComplete) {
    std::string text = "[";
    for (int count = 0; count < 100'000; ++count) text += std::to_string(count) + ", ";
    EXPECT_EQ(read_jsonc_file(write("many.jsonc", text + "]")).root.as_array().size(), 100'000U);
}

TEST_F(JsoncFile, EndlessDeviceIsRefused) {
    if (!fs::exists("/dev/zero")) GTEST_SKIP() << "no /dev/zero here";
    EXPECT_EQ(message_for("/dev/zero"),
              "/dev/zero: error: this is a device or a socket, not a file");
}

TEST_F(JsoncFile, PipeIsRead) {
    const fs::path path = folder_ / "pipe";
    ASSERT_EQ(mkfifo(path.c_str(), 0600), 0);
    std::thread writer([&path] { std::ofstream(path) << "{\"a\": 1}"; });
    EXPECT_EQ(message_for(path), "accepted");
    writer.join();
}

TEST_F(JsoncFile, PipeOverTheLimitIsRefused) {
    const fs::path path = folder_ / "pipe";
    ASSERT_EQ(mkfifo(path.c_str(), 0600), 0);
    // 60,000 bytes fit into the pipe's buffer, so that the writer never waits for a reader that
    // left.
    std::thread writer([&path] { std::ofstream(path) << std::string(60'000, ' '); });
    EXPECT_THAT(message_for(path, {.max_bytes = 1000}), HasSubstr("more than 1000 bytes"));
    writer.join();
}

}  // namespace
}  // namespace isoflop::config
