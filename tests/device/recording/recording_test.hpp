// A CudaDevice over the strict stand-ins: each test ends without a violation, a handle or memory
// that is left.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "device/cuda/cuda_device.hpp"
#include "device/recording/strict_cublaslt.hpp"
#include "device/recording/strict_cuda.hpp"

namespace isoflop::test {

class RecordingTest : public testing::Test {
protected:
    RecordingTest() {
        StrictCublasLt::instance().reset();
        StrictCuda::instance().reset();
    }
    ~RecordingTest() override {
        device_.reset();
        EXPECT_THAT(StrictCuda::instance().take_violations(), testing::IsEmpty());
        EXPECT_EQ(StrictCublasLt::instance().living(), 0U);
    }

    device::Device& device() {
        if (!device_) {
            device::DeviceInfo info;
            info.name = "a GPU of the test";
            info.capability_major = 9;
            device_ = std::make_unique<device::cuda::CudaDevice>(options_, info);
        }
        return *device_;
    }
    device::DeviceBuffer upload(const std::vector<float>& values) {
        device::DeviceBuffer buffer(device(), values.size() * sizeof(float));
        device().copy_in(buffer.data(), values.data(), buffer.size());
        return buffer;
    }
    std::vector<float> download(const device::DeviceBuffer& buffer) {
        std::vector<float> values(buffer.size() / sizeof(float));
        device().copy_out(values.data(), buffer.data(), buffer.size());
        return values;
    }

    device::DeviceOptions options_;
    device::ThreadPool pool_{1};
    StrictCublasLt& lt_ = StrictCublasLt::instance();
    StrictCuda& cuda_ = StrictCuda::instance();

private:
    std::unique_ptr<device::Device> device_;
};

}  // namespace isoflop::test
