// What is read is a regular file, and nothing is written through a link.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>  // mkdtemp
#include <sys/stat.h>

#include <array>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "isoflop/base/error.hpp"
#include "isoflop/base/file.hpp"

namespace isoflop {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

class Files : public ::testing::Test {
protected:
    Files() {
        std::string name = (fs::temp_directory_path() / "isoflop_file_XXXXXX").string();
        if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp failed");
        folder_ = name;
    }
    ~Files() override {
        std::error_code ignored;
        fs::remove_all(folder_, ignored);
    }

    [[nodiscard]] fs::path at(const char* name) const { return folder_ / name; }
    static std::string text_of(const fs::path& path) {
        std::ifstream file(path, std::ios::binary);
        return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
    }
    static void put(const fs::path& path, const std::string& text) {
        std::ofstream(path, std::ios::binary) << text;
    }

    template <class Action>
    static std::string error_of(const Action& action) {
        try {
            action();
        } catch (const IoError& error) {
            return error.what();
        }
        return "none";
    }

    fs::path folder_;
};

TEST_F(Files, PipesDevicesAndFoldersAreRefusedWithoutWaiting) {
    ASSERT_EQ(::mkfifo(at("pipe").c_str(), 0600), 0);
    fs::create_symlink(at("pipe"), at("link"));
    for (const auto& [path, what] :
         {std::pair(at("pipe"), "named pipe"), std::pair(at("link"), "named pipe"),
          std::pair(folder_, "folder"), std::pair(fs::path("/dev/zero"), "device")}) {
        EXPECT_THAT(error_of([&] { (void)open_regular_file(path); }), HasSubstr(what)) << path;
        EXPECT_THAT(error_of([&] { (void)read_text_file(path, 10); }), HasSubstr(what)) << path;
        EXPECT_THAT(error_of([&] { RandomAccessFile file(path); }), HasSubstr(path.string()));
        EXPECT_THAT(error_of([&] { copy_regular_file(path, at("copy")); }), HasSubstr(what));
    }
    EXPECT_FALSE(fs::exists(at("copy")));
}

TEST_F(Files, ALinkToAFileIsRead) {
    put(at("file"), "content");
    fs::create_symlink(at("file"), at("link"));
    EXPECT_EQ(read_text_file(at("link"), 100), "content");
    EXPECT_THAT(error_of([&] { (void)read_text_file(at("link"), 6); }), HasSubstr("7 bytes"));
}

TEST_F(Files, TruncatedWhileInUseIsAnErrorWithTheName) {
    put(at("shard.bin"), std::string(100'000, 'x'));
    const RandomAccessFile file(at("shard.bin"));
    EXPECT_EQ(file.size(), 100'000U);
    std::array<std::byte, 10> bytes{};
    file.read(99'990, bytes);
    fs::resize_file(at("shard.bin"), 99'995);
    const std::string message = error_of([&] { file.read(99'990, bytes); });
    EXPECT_THAT(message, HasSubstr("shard.bin"));
    EXPECT_THAT(message, HasSubstr("truncated while it was in use"));
    EXPECT_THAT(message, HasSubstr("byte 99995 is gone"));
}

TEST_F(Files, NothingIsWrittenThroughALink) {
    put(at("precious"), "precious");
    // The name itself, and the temporary one, as an attacker in a shared folder makes them.
    for (const char* link : {"out", "out.writing"}) {
        fs::create_symlink(at("precious"), at(link));
        write_text_file(at("out"), "new");
        EXPECT_EQ(text_of(at("out")), "new") << link;
        EXPECT_FALSE(fs::is_symlink(at("out"))) << link;
        EXPECT_FALSE(fs::exists(at("out.writing"))) << link;
        EXPECT_EQ(text_of(at("precious")), "precious") << link;
        fs::remove(at("out"));
    }
    fs::create_symlink(at("precious"), at("log"));
    EXPECT_THAT(error_of([&] { (void)create_log(at("log")); }), HasSubstr("log"));
    EXPECT_THAT(error_of([&] { (void)continue_log(at("log")); }), HasSubstr("symbolic link"));
    EXPECT_FALSE(write_new_text_file(at("log"), "new"));
    (void)create_file(at("log"));
    EXPECT_FALSE(fs::is_symlink(at("log")));
    put(at("source"), "copied");
    fs::create_symlink(at("precious"), at("copy"));
    copy_regular_file(at("source"), at("copy"));
    EXPECT_EQ(text_of(at("copy")), "copied");
    EXPECT_EQ(text_of(at("precious")), "precious");
}

TEST_F(Files, ADanglingLinkIsNotFollowedEither) {
    fs::create_symlink(at("elsewhere"), at("out"));
    EXPECT_FALSE(write_new_text_file(at("out"), "new"));
    write_text_file(at("out"), "new");
    EXPECT_FALSE(fs::exists(at("elsewhere")));
    EXPECT_EQ(text_of(at("out")), "new");
}

TEST_F(Files, DevicesAndPipesAreNotReplaced) {
    ASSERT_EQ(::mkfifo(at("pipe").c_str(), 0600), 0);
    fs::create_symlink("/dev/null", at("null"));
    for (const auto& path : {at("pipe"), at("null"), fs::path("/dev/null")}) {
        EXPECT_THAT(error_of([&] { write_text_file(path, "x"); }), HasSubstr("not a file")) << path;
        EXPECT_TRUE(fs::exists(path)) << path;
    }
    EXPECT_THAT(error_of([&] { (void)create_file("/dev/null"); }), HasSubstr("device"));
    EXPECT_THAT(error_of([&] { (void)continue_log(at("pipe")); }), HasSubstr("pipe"));
    EXPECT_THAT(error_of([&] { write_text_file(folder_, "x"); }), HasSubstr("folder"));
}

TEST_F(Files, HasItsNameOnlyWhenComplete) {
    {
        NewFile abandoned(at("file"));
        abandoned.append("part");
        EXPECT_FALSE(fs::exists(at("file")));
    }
    EXPECT_TRUE(fs::is_empty(folder_));
    put(at("file"), "old");
    put(at("file.writing"), "left by a killed run, and longer");
    NewFile file(at("file"));
    file.append("new");
    EXPECT_EQ(text_of(at("file")), "old");
    file.commit();
    EXPECT_EQ(text_of(at("file")), "new");
    EXPECT_FALSE(fs::exists(at("file.writing")));
}

TEST_F(Files, TwoWritersDoNotMix) {
    NewFile first(at("file"));
    first.append("first");
    NewFile second(at("file"));
    second.append("2nd");
    EXPECT_THAT(error_of([&] { first.commit(); }), HasSubstr("another process"));
    second.commit();
    EXPECT_EQ(text_of(at("file")), "2nd");
}

TEST_F(Files, AFullDiskIsAnErrorThatNamesTheFile) {
    if (!fs::exists("/dev/full")) GTEST_SKIP() << "no /dev/full here";
    const FileDescriptor full = open_file("/dev/full", O_WRONLY, "write");
    const std::array<std::byte, 3> bytes{};
    const std::string message = error_of([&] { write_all(full, bytes, "out/x"); });
    EXPECT_THAT(message, HasSubstr("out/x"));
    EXPECT_THAT(message, HasSubstr("No space left"));
}

}  // namespace
}  // namespace isoflop
