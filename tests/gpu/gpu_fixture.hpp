// A GPU for tests, which are skipped with the reason where there is none.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "isoflop/device/accelerator.hpp"

namespace isoflop::test {

class GpuTest : public testing::Test {
protected:
    void SetUp() override {
        const device::AcceleratorCount count = device::count_accelerators();
        if (count.devices == 0) GTEST_SKIP() << count.reason;
        gpu_ = device::open_accelerator(options_);
    }

    template <class T>
    [[nodiscard]] device::DeviceBuffer upload(const std::vector<T>& values) const {
        device::DeviceBuffer buffer(*gpu_, values.size() * sizeof(T));
        gpu_->copy_in(buffer.data(), values.data(), buffer.size());
        return buffer;
    }
    template <class T>
    [[nodiscard]] std::vector<T> download(const device::DeviceBuffer& buffer) const {
        std::vector<T> values(buffer.size() / sizeof(T));
        gpu_->copy_out(values.data(), buffer.data(), buffer.size());
        return values;
    }

    device::AcceleratorOptions options_;
    std::unique_ptr<device::Accelerator> gpu_;
};

}  // namespace isoflop::test
