// What tests of computations on any device share: the device, tensors in its memory with NaN around
// them, and runs in every scheduling order. The device is that of the linked program: the CPU, the
// emulated GPU, or a real one, without which the tests are skipped with the reason.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <exception>
#include <initializer_list>
#include <optional>
#include <string>
#include <vector>

#include "isoflop/base/half_precision.hpp"
#include "isoflop/device/context.hpp"
#include "isoflop/device/device.hpp"
#include "isoflop/device/tensor_view.hpp"
#include "support/test_device.hpp"

namespace isoflop::test {

using device::Context;
using device::TensorView;

/// The most that one rounding to the type may change a number, relative to it; for fp32, room for
/// the roundings of a few operations, as sums are in fp32 for all types.
[[nodiscard]] inline double rounding_tolerance(DType dtype) {
    switch (dtype) {
        case DType::bfloat16: return 0x1p-8;
        case DType::float16: return 0x1p-11;
        default: return 1e-6;
    }
}

/// Numbers as the memory of a device holds them, in fp32, bf16 or fp16.
inline void store_rounded(DType dtype, const std::vector<double>& values, std::byte* to) {
    for (const double value : values) {
        const auto single = static_cast<float>(value);
        const std::uint16_t half =
            dtype == DType::bfloat16 ? float_to_bfloat16(single) : float_to_float16(single);
        const std::size_t bytes = size_in_bytes(dtype);
        std::memcpy(to, dtype == DType::float32 ? static_cast<const void*>(&single) : &half, bytes);
        to += bytes;
    }
}
[[nodiscard]] inline double load_stored(DType dtype, const std::byte* from) {
    if (dtype == DType::float32) {
        float single = 0;
        std::memcpy(&single, from, sizeof single);
        return static_cast<double>(single);
    }
    std::uint16_t half = 0;
    std::memcpy(&half, from, sizeof half);
    return static_cast<double>(dtype == DType::bfloat16 ? bfloat16_to_float(half)
                                                        : float16_to_float(half));
}

/// NaN in every type.
inline constexpr std::byte kPoison{0xFF};

/// A tensor in device memory with poison on both sides and, until they are written, in all elements
/// of one made without values.
class DeviceTensor {
public:
    /// `shift` moves it away from a 16-byte boundary, in elements.
    DeviceTensor(device::Device& device, DType dtype, std::initializer_list<std::int64_t> shape,
                 const std::vector<double>& values = {}, std::int64_t shift = 0)
        : device_(device),
          front_(kPoisonBytes + static_cast<std::uint64_t>(shift) * size_in_bytes(dtype)),
          memory_(device, front_ + TensorView(nullptr, dtype, shape).bytes() + kPoisonBytes),
          view_(memory_.data() + front_, dtype, shape) {
        EXPECT_TRUE(values.empty() || std::ssize(values) == view_.size());
        std::vector<std::byte> image(memory_.size(), kPoison);
        store_rounded(dtype, values, image.data() + front_);
        device_.copy_in(memory_.data(), image.data(), image.size());
    }
    ~DeviceTensor() {
        try {
            const std::vector<std::byte> all = image();
            const auto is_poison = [](std::byte byte) { return byte == kPoison; };
            const auto tensor = all.begin() + static_cast<std::ptrdiff_t>(front_);
            const auto behind = tensor + static_cast<std::ptrdiff_t>(view_.bytes());
            EXPECT_TRUE(std::all_of(all.begin(), tensor, is_poison) &&
                        std::all_of(behind, all.end(), is_poison))
                << "a kernel has written outside a tensor";
        } catch (const std::exception& error) {  // the work before it has failed
            ADD_FAILURE() << error.what();
        }
    }
    DeviceTensor(const DeviceTensor&) = delete;
    DeviceTensor& operator=(const DeviceTensor&) = delete;

    [[nodiscard]] const TensorView& view() const { return view_; }
    /// Waits for the device, as append_bytes does.
    [[nodiscard]] std::vector<double> values() const {
        const std::vector<std::byte> all = image();
        std::vector<double> values(static_cast<std::size_t>(view_.size()));
        const std::byte* from = all.data() + front_;
        for (double& value : values) {
            value = load_stored(view_.dtype(), from);
            from += size_in_bytes(view_.dtype());
        }
        return values;
    }
    void append_bytes(std::vector<std::byte>& to) const {
        const std::vector<std::byte> all = image();
        const std::byte* const first = all.data() + front_;
        to.insert(to.end(), first, first + view_.bytes());
    }

private:
    static constexpr std::uint64_t kPoisonBytes = 256;

    [[nodiscard]] std::vector<std::byte> image() const {
        std::vector<std::byte> bytes(memory_.size());
        device_.copy_out(bytes.data(), memory_.data(), bytes.size());
        return bytes;
    }

    device::Device& device_;
    std::uint64_t front_;
    device::DeviceBuffer memory_;
    TensorView view_;
};

/// Contexts on the device, with NaN in its scratch memory, and on the host.
class DeviceOp : public ::testing::Test {
protected:
    void SetUp() override {
        if (device_ == nullptr) GTEST_SKIP() << test_device_.missing;
        if (device_->scratch() == nullptr) return;
        const std::vector<std::byte> poison(1U << 20U, kPoison);
        for (std::uint64_t at = 0; at < device::kScratchBytes; at += poison.size())
            device_->copy_in(device_->scratch() + at, poison.data(), poison.size());
    }

    /// The element types of tensors on the device, fp64 excepted: references are in it.
    [[nodiscard]] std::vector<DType> storage_types() const {
        std::vector<DType> types = device_->info().element_types;
        std::erase(types, DType::float64);
        return types;
    }
    /// `dtype` where the device has tensors of it, else fp32.
    [[nodiscard]] DType narrow(DType dtype) const {
        const std::vector<DType> types = storage_types();
        return std::find(types.begin(), types.end(), dtype) != types.end() ? dtype : DType::float32;
    }

    /// Of a GPU; on a CPU 4, so that tests have as many rows there.
    [[nodiscard]] int multiprocessors() const {
        return std::max(device_->info().multiprocessors, 4);
    }

    /// `run` makes its tensors, calls an op, and returns the tensors whose bits must be the same in
    /// every scheduling order, as one vector of bytes.
    template <class Run>
    static void expect_same_bits_in_all_orders(const Run& run) {
        std::optional<std::vector<std::byte>> first;
        in_all_orders([&](const std::string& order) {
            const std::vector<std::byte> bits = run();
            if (!first) first = bits;
            EXPECT_TRUE(bits == *first) << order;
        });
    }

    TestDevice test_device_ = open_test_device();
    device::Device* const device_ = test_device_.device.get();
    device::ThreadPool pool_{test_device_.threads};
    Context context_{pool_, device_ != nullptr ? *device_ : device::host_device()};
    Context host_{pool_};
};

/// The bytes of tensors one after another.
template <class... Tensors>
[[nodiscard]] std::vector<std::byte> bytes_of(const Tensors&... tensors) {
    std::vector<std::byte> bytes;
    (tensors.append_bytes(bytes), ...);
    return bytes;
}

}  // namespace isoflop::test
