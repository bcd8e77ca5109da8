// The engine bundle on disk. nstopt/bundle.py writes bundles; its open_bundle makes the same checks.
#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "size.hpp"

namespace nstopt::detail {

using Bytes = std::vector<char>;

// The pictures that an engine takes.
struct InputShape {
    std::optional<int> batch;  // none for any number of pictures
    Sizes sizes;
};

std::string to_string(const InputShape &shape);

// A bundle whose hashes all matched when it was read.
class Bundle {
public:
    // Reads and checks the bundle in `folder`. Throws Error (NSTOPT_BAD_BUNDLE).
    explicit Bundle(const std::filesystem::path &folder);

    // Returns the bytes that were hashed, so that the file cannot change between the check and the use.
    // Throws Error (NSTOPT_BAD_BUNDLE) if the manifest lists no such file.
    const Bytes &file(const std::string &name) const;

    const std::filesystem::path folder;
    std::string net;      // name of the net
    std::string backend;  // name of the backend that built the engine
    InputShape shape;

private:
    void read_manifest(const Bytes &raw);

    std::map<std::string, Bytes> files_;
};

}  // namespace nstopt::detail
