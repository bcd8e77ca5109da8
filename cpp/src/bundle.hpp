// The engine bundle on disk. An object of class Bundle is a bundle whose every hash matched; nstopt/bundle.py writes
// them, and its open_bundle makes the same checks.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "pictures.hpp"

namespace nstopt {

using Bytes = std::vector<char>;

class Bundle {
public:
    // Reads and checks the bundle in `folder`. Throws Error (NSTOPT_BAD_BUNDLE).
    explicit Bundle(const std::filesystem::path &folder);

    // The bytes that were hashed, so that nothing can change between the check and the use.
    // Throws Error (NSTOPT_BAD_BUNDLE) if the manifest lists no such file.
    const Bytes &file(const std::string &name) const;

    const std::filesystem::path folder;
    std::string net;          // name of the net
    std::string backend;      // name of the backend that built the engine
    Shape shape;              // what the engine takes; 0 where it takes any
    std::vector<Size> sizes;  // where it takes several sizes and no others, these; height and width are 0 then

private:
    void read_manifest(const Bytes &raw);

    std::map<std::string, Bytes> files_;
};

}  // namespace nstopt
