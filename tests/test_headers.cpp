// Nothing: the target that owns the precompiled header of all test programs.
namespace isoflop {}
