// A descriptor of cuDNN's backend: made, given attributes, finalized, destroyed with its owner.
#pragma once

#include <iterator>
#include <span>
#include <string>
#include <utility>

#include "attention/cudnn/functions.hpp"

namespace isoflop::attention::cudnn {

class Descriptor {
public:
    Descriptor() = default;
    /// `functions` must outlive it.
    Descriptor(const Functions& functions, DescriptorType type) : functions_(&functions) {
        functions.check(functions.backend_create_descriptor(static_cast<int>(type), &raw_),
                        "cudnnBackendCreateDescriptor");
    }
    ~Descriptor() {
        if (raw_ != nullptr) functions_->backend_destroy_descriptor(raw_);
    }
    Descriptor(Descriptor&& other) noexcept { *this = std::move(other); }
    Descriptor& operator=(Descriptor&& other) noexcept {
        std::swap(functions_, other.functions_);
        std::swap(raw_, other.raw_);
        return *this;
    }
    Descriptor(const Descriptor&) = delete;
    Descriptor& operator=(const Descriptor&) = delete;

    [[nodiscard]] RawDescriptor raw() const { return raw_; }

    void set_elements(Attribute attribute, ValueType type, std::int64_t count,
                      const void* elements) {
        functions_->check(
            functions_->backend_set_attribute(raw_, static_cast<int>(attribute),
                                              static_cast<int>(type), count, elements),
            "cudnnBackendSetAttribute " + std::to_string(static_cast<int>(attribute)));
    }
    template <class T>
    void set(Attribute attribute, ValueType type, const T& value) {
        set_elements(attribute, type, 1, &value);
    }
    /// All elements of a range.
    template <class Range>
    void set_all(Attribute attribute, ValueType type, const Range& values) {
        set_elements(attribute, type, std::ssize(values), std::data(values));
    }
    void set(Attribute attribute, const Descriptor& descriptor) {
        set(attribute, ValueType::descriptor, descriptor.raw_);
    }

    /// Into `values`; returns how many there are.
    template <class T>
    std::int64_t get(Attribute attribute, ValueType type, std::span<T> values) const {
        std::int64_t count = 0;
        functions_->check(
            functions_->backend_get_attribute(
                raw_, static_cast<int>(attribute), static_cast<int>(type),
                static_cast<std::int64_t>(values.size()), &count, values.data()),
            "cudnnBackendGetAttribute " + std::to_string(static_cast<int>(attribute)));
        return count;
    }

    /// An attribute that is text of any length.
    [[nodiscard]] std::string text(Attribute attribute) const {
        const std::int64_t length = get(attribute, ValueType::character, std::span<char>());
        std::string text(static_cast<std::size_t>(length), '\0');
        get(attribute, ValueType::character, std::span<char>(text));
        text.resize(text.find_last_not_of('\0') + 1);
        return text;
    }

    void finalize(const std::string& what) {
        functions_->check(functions_->backend_finalize(raw_), "cudnnBackendFinalize " + what);
    }

private:
    const Functions* functions_ = nullptr;
    RawDescriptor raw_ = nullptr;
};

}  // namespace isoflop::attention::cudnn
