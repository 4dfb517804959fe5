// Checked calls of the CUDA runtime, and owners of its handles. Functions of the compute device:
// `use_device` has to have been called in the thread.
#pragma once

#include <cuda_runtime_api.h>

#include <string>
#include <utility>

namespace isoflop::device::cuda {

/// Throws Error with the call, the current device and the message of CUDA.
void check(cudaError_t status, const char* call);

/// For destructors: drops the error, so that the next call does not report it.
void ignore(cudaError_t status) noexcept;

/// "an illegal memory access was encountered (cudaErrorIllegalAddress)".
[[nodiscard]] std::string describe(cudaError_t status);

/// Makes a device the current one of the calling thread.
inline void use_device(int ordinal) {
    check(cudaSetDevice(ordinal), "cudaSetDevice");
}

/// A handle that is destroyed with its owner.
template <class Handle, cudaError_t (*destroy)(Handle)>
class Owned {
public:
    Owned() = default;
    explicit Owned(Handle handle) : handle_(handle) {}
    ~Owned() {
        if (handle_ != nullptr) ignore(destroy(handle_));
    }
    Owned(Owned&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
    Owned& operator=(Owned&& other) noexcept {
        std::swap(handle_, other.handle_);
        return *this;
    }
    Owned(const Owned&) = delete;
    Owned& operator=(const Owned&) = delete;

    [[nodiscard]] Handle get() const { return handle_; }

private:
    Handle handle_ = nullptr;
};

/// Work in order, which does not wait for the default stream.
class Stream : public Owned<cudaStream_t, cudaStreamDestroy> {
public:
    Stream();
    void synchronize() const;
    void wait(cudaEvent_t event) const;
};

enum class Timing { off, on };

class Event : public Owned<cudaEvent_t, cudaEventDestroy> {
public:
    explicit Event(Timing timing = Timing::off);
    void record(const Stream& stream) const;
    /// On the host, until what was recorded is done.
    void synchronize() const;
};

/// Between two events that were recorded with timing and are done.
[[nodiscard]] double seconds_between(const Event& begin, const Event& end);

}  // namespace isoflop::device::cuda
