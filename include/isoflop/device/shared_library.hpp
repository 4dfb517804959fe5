// Optional libraries, loaded at run time: the program also starts where they are not installed.
#pragma once

#include <dlfcn.h>

#include <initializer_list>

namespace isoflop::device {

/// A library that stays loaded until the process ends.
class SharedLibrary {
public:
    /// Takes the first of the names that can be loaded.
    explicit SharedLibrary(std::initializer_list<const char*> names) {
        for (const char* name : names) {
            handle_ = dlopen(name, RTLD_NOW | RTLD_LOCAL);
            if (handle_ != nullptr) return;
        }
    }
    [[nodiscard]] bool loaded() const { return handle_ != nullptr; }

    /// Null when there is no such symbol in the library or what it depends on.
    template <class Function>
    [[nodiscard]] Function* find(const char* symbol) const {
        return handle_ == nullptr ? nullptr : reinterpret_cast<Function*>(dlsym(handle_, symbol));
    }

private:
    void* handle_ = nullptr;
};

}  // namespace isoflop::device
