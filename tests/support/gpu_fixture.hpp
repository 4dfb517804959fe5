// A GPU for tests, which are skipped with the reason where there is none.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "isoflop/device/device.hpp"

namespace isoflop::test {

class GpuTest : public testing::Test {
protected:
    void SetUp() override {
        const device::DeviceCount count = device::count_gpus();
        if (count.devices == 0) GTEST_SKIP() << count.reason;
        gpu_ = device::open_gpu(options_);
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

    device::DeviceOptions options_;
    std::unique_ptr<device::Device> gpu_;
    device::ThreadPool pool_{1};
};

}  // namespace isoflop::test
