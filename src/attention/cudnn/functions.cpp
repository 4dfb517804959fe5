#include "attention/cudnn/functions.hpp"

#include <array>

#include "isoflop/base/error.hpp"
#include "isoflop/device/shared_library.hpp"

namespace isoflop::attention::cudnn {

void Functions::check(int status, const std::string& call) const {
    if (status == kSuccess) return;
    std::array<char, 1024> words{};
    get_last_error_string(words.data(), words.size());
    std::string message = call + ": " + get_error_string(status);
    if (words.front() != '\0') message += " (" + std::string(words.data()) + ")";
    throw Error(ExitCode::check_failed, message);
}

std::string version_text(std::size_t version) {
    return std::to_string(version / 10000) + "." + std::to_string(version / 100 % 100) + "." +
           std::to_string(version % 100);
}

void check_cuda_major(const Functions& functions, int cuda_major) {
    const std::size_t major = functions.get_cudart_version() / 1000;
    if (major == static_cast<std::size_t>(cuda_major)) return;
    throw ConfigError("cuDNN " + version_text(functions.get_version()) + " is for CUDA " +
                      std::to_string(major) + ", this program was built with CUDA " +
                      std::to_string(cuda_major) + " (PyPI: nvidia-cudnn-cu" +
                      std::to_string(cuda_major) + ")");
}

Functions load_functions(const char* library_name) {
    const device::SharedLibrary library({library_name});
    if (!library.loaded()) {
        throw ConfigError(std::string(library_name) +
                          " was not found (NVIDIA's package repository: libcudnn9-cuda-13; PyPI: "
                          "nvidia-cudnn-cu13, with its lib folder in LD_LIBRARY_PATH)");
    }
    const auto find = [&]<class Result, class... Parameters>(
                          std::function<Result(Parameters...)>& function, const char* symbol) {
        function = library.find<Result(Parameters...)>(symbol);
        if (!function) throw ConfigError(std::string(library_name) + " lacks " + symbol);
    };
    Functions table;
    find(table.get_version, "cudnnGetVersion");
    find(table.get_cudart_version, "cudnnGetCudartVersion");
    find(table.get_error_string, "cudnnGetErrorString");
    find(table.get_last_error_string, "cudnnGetLastErrorString");
    find(table.create, "cudnnCreate");
    find(table.destroy, "cudnnDestroy");
    find(table.set_stream, "cudnnSetStream");
    find(table.backend_create_descriptor, "cudnnBackendCreateDescriptor");
    find(table.backend_destroy_descriptor, "cudnnBackendDestroyDescriptor");
    find(table.backend_set_attribute, "cudnnBackendSetAttribute");
    find(table.backend_get_attribute, "cudnnBackendGetAttribute");
    find(table.backend_finalize, "cudnnBackendFinalize");
    find(table.backend_execute, "cudnnBackendExecute");
    if (table.get_version() < kOldestVersion) {
        throw ConfigError("cuDNN " + version_text(table.get_version()) + " is older than " +
                          version_text(kOldestVersion));
    }
    return table;
}

}  // namespace isoflop::attention::cudnn
