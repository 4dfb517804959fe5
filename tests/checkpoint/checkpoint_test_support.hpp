// Temporary folders, made-up tensors, and ways to damage a file.
#pragma once

#include <gtest/gtest.h>
#include <stdlib.h>  // mkdtemp

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "isoflop/base/error.hpp"
#include "isoflop/checkpoint/checkpoint.hpp"

namespace isoflop::checkpoint::test {

class TemporaryDirectory {
public:
    TemporaryDirectory() {
        std::string name =
            (std::filesystem::temp_directory_path() / "isoflop_checkpoint_XXXXXX").string();
        if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp failed");
        path_ = name;
    }
    ~TemporaryDirectory() {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }
    TemporaryDirectory(const TemporaryDirectory&) = delete;
    TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
    [[nodiscard]] const std::filesystem::path& path() const { return path_; }

private:
    std::filesystem::path path_;
};

inline std::string read_file(const std::filesystem::path& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

inline void write_file(const std::filesystem::path& path, const std::string& bytes) {
    std::ofstream file(path, std::ios::binary | std::ios::trunc);
    file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

/// In place; a second call restores the file.
inline void flip_bit(const std::filesystem::path& path, std::size_t bit) {
    std::fstream file(path, std::ios::binary | std::ios::in | std::ios::out);
    const auto place = static_cast<std::streamoff>(bit / 8);
    const int byte = file.seekg(place).get();
    if (byte == std::fstream::traits_type::eof()) throw std::out_of_range("no such bit");
    file.seekp(place).put(static_cast<char>(byte ^ (1 << (bit % 8))));
}

inline std::vector<float> random_values(std::size_t count, std::uint32_t seed) {
    std::mt19937 generator(seed);
    std::normal_distribution<float> normal(0.0F, 0.02F);
    std::vector<float> values(count);
    for (float& value : values) value = normal(generator);
    return values;
}

/// The message of the error that `action` throws; fails the test when there is none or it is of
/// another type.
template <class Exception = IoError, class Action>
std::string error_of(Action&& action) {
    try {
        action();
    } catch (const Exception& error) {
        return error.what();
    }
    ADD_FAILURE() << "no error";
    return {};
}

/// Weights and moments of a small model, different at every step.
struct TrainerTensors {
    explicit TrainerTensors(std::uint32_t seed, std::size_t rows = 37) {
        const auto signed_rows = static_cast<std::int64_t>(rows);
        for (const std::string prefix : {"", "exp_avg.", "exp_avg_sq."}) {
            std::vector<NamedTensor>& group = prefix.empty() ? weights : moments;
            values.push_back(random_values(rows * 12, ++seed * 100));
            values.push_back(random_values(12, ++seed * 100));
            auto& matrix = values[values.size() - 2];
            auto& vector = values.back();
            group.push_back({.name = prefix + "model.embed_tokens.weight",
                             .shape = {signed_rows, 12},
                             .data = device::TensorView::of(std::span(matrix), {signed_rows, 12})});
            group.push_back({.name = prefix + "model.norm.weight",
                             .shape = {12},
                             .data = device::TensorView::of(std::span(vector), {12})});
        }
    }
    TrainerTensors(const TrainerTensors&) = delete;
    TrainerTensors& operator=(const TrainerTensors&) = delete;

    std::vector<std::vector<float>> values;
    std::vector<NamedTensor> weights, moments;
};

inline std::vector<float> read_all(const CheckpointReader& reader, const std::string& name) {
    const TensorDescription* tensor = reader.find(name);
    if (tensor == nullptr) throw std::logic_error("no tensor " + name);
    std::vector<float> values(element_count(tensor->shape));
    reader.read(name, 0, std::span<float>(values));
    return values;
}

/// Whether the checkpoint holds these tensors, bit for bit.
inline bool holds(const CheckpointReader& reader, const TrainerTensors& tensors) {
    const auto equal = [&](const std::vector<NamedTensor>& group) {
        for (const NamedTensor& tensor : group) {
            const std::span<float> expected = tensor.data.as<float>();
            const std::vector<float> found = read_all(reader, tensor.name);
            if (!std::equal(expected.begin(), expected.end(), found.begin(), found.end()))
                return false;
        }
        return true;
    };
    return equal(tensors.weights) && equal(tensors.moments);
}

}  // namespace isoflop::checkpoint::test
