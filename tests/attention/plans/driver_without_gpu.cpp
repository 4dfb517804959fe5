// A driver library in which every call succeeds and nothing happens: cuDNN compiles plans for a
// described device, and loads them, without a GPU. Loaded under the name of the real one. Functions
// are found by name or by cuGetProcAddress; those with results give one that is not null.
#include <cstdint>
#include <cstring>

namespace {

char object = 0;  ///< what handles point to

struct Named {
    const char* name;
    void (*function)();
};
const Named* find(const char* name);

}  // namespace

// NOLINTBEGIN(bugprone-macro-parentheses)
#define SUCCEEDS(name) \
    int name() {       \
        return 0;      \
    }
#define GIVES_HANDLE(name)           \
    int name(void** handle) {        \
        return *handle = &object, 0; \
    }
#define GIVES_NUMBER(name, number) \
    int name(int* value) {         \
        return *value = number, 0; \
    }
// NOLINTEND(bugprone-macro-parentheses)

extern "C" {

int cuInit(unsigned /*flags*/) {
    return 100;  // no device: the compiler then asks for no more
}
SUCCEEDS(cuCtxGetLimit)
SUCCEEDS(cuCtxPushCurrent)
SUCCEEDS(cuLinkAddData)
SUCCEEDS(cuLinkComplete)
SUCCEEDS(cuLinkDestroy)
SUCCEEDS(cuLaunchKernel)
SUCCEEDS(cuLaunchKernelEx)
SUCCEEDS(cuLaunchCooperativeKernel)
SUCCEEDS(cuLibraryUnload)
SUCCEEDS(cuKernelSetAttribute)
SUCCEEDS(cuFuncSetAttribute)
SUCCEEDS(cuModuleUnload)
SUCCEEDS(cuTensorMapEncodeIm2col)
SUCCEEDS(cuTensorMapEncodeTiled)
GIVES_HANDLE(cuCtxGetCurrent)
GIVES_HANDLE(cuCtxPopCurrent)
GIVES_HANDLE(cuLibraryLoadData)
GIVES_HANDLE(cuLibraryLoadFromFile)
GIVES_HANDLE(cuLibraryGetKernel)
GIVES_HANDLE(cuLibraryGetModule)
GIVES_HANDLE(cuKernelGetFunction)
GIVES_HANDLE(cuModuleLoadData)
GIVES_HANDLE(cuModuleLoadDataEx)
GIVES_HANDLE(cuModuleGetFunction)
GIVES_HANDLE(cuDevicePrimaryCtxRetain)
GIVES_NUMBER(cuDriverGetVersion, 13000)
GIVES_NUMBER(cuDeviceGetCount, 1)
GIVES_NUMBER(cuDeviceGet, 0)
GIVES_NUMBER(cuFuncGetAttribute, 1024)
GIVES_NUMBER(cuKernelGetAttribute, 1024)
GIVES_NUMBER(cuOccupancyMaxActiveBlocksPerMultiprocessor, 1)
GIVES_NUMBER(cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags, 1)
GIVES_NUMBER(cuOccupancyMaxPotentialClusterSize, 8)
GIVES_NUMBER(cuOccupancyMaxActiveClusters, 8)

int cuStreamGetCtx(void* /*stream*/, void** context) {
    return *context = &object, 0;
}
int cuLinkCreate(unsigned /*options*/, void* /*names*/, void** /*values*/, void** state) {
    return *state = &object, 0;
}
int cuGetErrorName(int /*error*/, const char** text) {
    return *text = "an error", 0;
}
int cuGetErrorString(int /*error*/, const char** text) {
    return *text = "an error", 0;
}

int cuGetProcAddress_v2(const char* name, void** function, int /*version*/, std::uint64_t /*flags*/,
                        int* status) {
    constexpr int kNotFound = 500;
    const Named* const found = find(name);
    *function = nullptr;
    if (status != nullptr) *status = found == nullptr ? 1 : 0;
    if (found == nullptr) return kNotFound;
    std::memcpy(function, &found->function, sizeof(*function));
    return 0;
}
int cuGetProcAddress(const char* name, void** function, int version, std::uint64_t flags) {
    return cuGetProcAddress_v2(name, function, version, flags, nullptr);
}

}  // extern "C"

namespace {

#define ENTRY(function)                                        \
    Named {                                                    \
#function, reinterpret_cast < void (*)()>(&(function)) \
    }

/// Null for names that are not in the list.
const Named* find(const char* name) {
    static const Named kFunctions[] = {
        ENTRY(cuInit),
        ENTRY(cuCtxGetCurrent),
        ENTRY(cuCtxPopCurrent),
        ENTRY(cuLibraryLoadData),
        ENTRY(cuLibraryLoadFromFile),
        ENTRY(cuLibraryGetKernel),
        ENTRY(cuLibraryGetModule),
        ENTRY(cuKernelGetFunction),
        ENTRY(cuModuleLoadData),
        ENTRY(cuModuleLoadDataEx),
        ENTRY(cuModuleGetFunction),
        ENTRY(cuDevicePrimaryCtxRetain),
        ENTRY(cuDriverGetVersion),
        ENTRY(cuDeviceGetCount),
        ENTRY(cuDeviceGet),
        ENTRY(cuFuncGetAttribute),
        ENTRY(cuKernelGetAttribute),
        ENTRY(cuOccupancyMaxActiveBlocksPerMultiprocessor),
        ENTRY(cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags),
        ENTRY(cuOccupancyMaxPotentialClusterSize),
        ENTRY(cuOccupancyMaxActiveClusters),
        ENTRY(cuStreamGetCtx),
        ENTRY(cuLinkCreate),
        ENTRY(cuGetErrorName),
        ENTRY(cuGetErrorString),
        {"cuGetProcAddress", reinterpret_cast<void (*)()>(&cuGetProcAddress_v2)},
    };
    for (const Named& each : kFunctions) {
        if (std::strcmp(name, each.name) == 0) return &each;
    }
    return nullptr;
}

}  // namespace
