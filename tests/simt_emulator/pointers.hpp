// Pointers that know the array they point into. Under nvcc both are plain pointers; here they
// cannot be dereferenced, so a kernel that compiles has all its accesses checked and counted.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <vector>

#include "simt_emulator/shared_memory.hpp"

namespace isoflop::emulator {

template <class T>
class GlobalPointer {
public:
    GlobalPointer() = default;
    GlobalPointer(std::nullptr_t) {}  // NOLINT(google-explicit-constructor): as a pointer
    /// Without bounds: what the address sanitizer knows has to do.
    GlobalPointer(T* pointer) : pointer_(pointer) {}  // NOLINT(google-explicit-constructor)
    GlobalPointer(T* pointer, T* begin, T* end) : pointer_(pointer), begin_(begin), end_(end) {}
    template <class U>
    requires(std::is_same_v<const U, T>)
        GlobalPointer(const GlobalPointer<U>& other)  // NOLINT(google-explicit-constructor)
        : pointer_(other.get()), begin_(other.begin()), end_(other.end()) {}

    [[nodiscard]] T* get() const { return pointer_; }
    [[nodiscard]] T* begin() const { return begin_; }
    [[nodiscard]] T* end() const { return end_; }
    explicit operator bool() const { return pointer_ != nullptr; }

    GlobalPointer& operator+=(std::int64_t elements) {
        // By address: pointers outside an array, never dereferenced, are common in kernels.
        pointer_ = reinterpret_cast<T*>(reinterpret_cast<std::uintptr_t>(pointer_) +
                                        static_cast<std::uintptr_t>(elements) * sizeof(T));
        return *this;
    }
    friend GlobalPointer operator+(GlobalPointer pointer, std::int64_t elements) {
        return pointer += elements;
    }
    friend GlobalPointer operator-(GlobalPointer pointer, std::int64_t elements) {
        return pointer += -elements;
    }

private:
    T* pointer_ = nullptr;
    T* begin_ = nullptr;
    T* end_ = nullptr;  // null: unknown
};

template <class T>
class SharedPointer {
public:
    SharedPointer() = default;
    explicit SharedPointer(const SharedRegion& region, std::int64_t offset_bytes = 0)
        : region_(&region), offset_(offset_bytes) {}
    template <class U>
    requires(std::is_same_v<const U, T>)
        SharedPointer(const SharedPointer<U>& other)  // NOLINT(google-explicit-constructor)
        : region_(other.region()), offset_(other.offset()) {}

    [[nodiscard]] const SharedRegion* region() const { return region_; }
    /// In bytes, from the begin of the region.
    [[nodiscard]] std::int64_t offset() const { return offset_; }

    SharedPointer& operator+=(std::int64_t elements) {
        offset_ += elements * static_cast<std::int64_t>(sizeof(T));
        return *this;
    }
    friend SharedPointer operator+(SharedPointer pointer, std::int64_t elements) {
        return pointer += elements;
    }
    friend SharedPointer operator-(SharedPointer pointer, std::int64_t elements) {
        return pointer += -elements;
    }

private:
    const SharedRegion* region_ = nullptr;
    std::int64_t offset_ = 0;
};

/// Memory for a kernel to work on, with bounds that are checked. Aligned as cudaMalloc's.
template <class T>
class GlobalArray {
public:
    GlobalArray() = default;
    explicit GlobalArray(std::size_t elements, T value = T{})
        : GlobalArray(std::vector<T>(elements, value)) {}
    explicit GlobalArray(const std::vector<T>& values)
        : storage_((values.size() * sizeof(T) + sizeof(Line) - 1) / sizeof(Line)),
          size_(values.size()) {
        for (std::size_t i = 0; i < size_; ++i) begin()[i] = values[i];
    }

    [[nodiscard]] std::size_t size() const { return size_; }
    T& operator[](std::size_t i) { return begin()[i]; }
    const T& operator[](std::size_t i) const { return begin()[i]; }
    [[nodiscard]] std::vector<T> values() const { return {begin(), begin() + size_}; }
    operator GlobalPointer<T>() { return {begin(), begin(), begin() + size_}; }  // NOLINT
    operator GlobalPointer<const T>() const {  // NOLINT(google-explicit-constructor)
        return {begin(), begin(), begin() + size_};
    }

private:
    struct alignas(256) Line {
        std::byte bytes[256];
    };
    [[nodiscard]] T* begin() { return reinterpret_cast<T*>(storage_.data()); }
    [[nodiscard]] const T* begin() const { return reinterpret_cast<const T*>(storage_.data()); }

    std::vector<Line> storage_;
    std::size_t size_ = 0;
};

}  // namespace isoflop::emulator
