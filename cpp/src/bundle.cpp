#include "bundle.hpp"

#include <openssl/evp.h>

#include <array>
#include <cstdint>
#include <fstream>
#include <nlohmann/json.hpp>

#include "error.hpp"

namespace nstopt::detail {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

constexpr int kFormatVersion = 2;
constexpr const char *kManifest = "manifest.json";

[[noreturn]] void fail(const fs::path &folder, const std::string &what) {
    throw Error(NSTOPT_BAD_BUNDLE, folder.string() + ": " + what);
}

Bytes read_file(const fs::path &path) {
    std::error_code error;
    const auto size = fs::file_size(path, error);
    std::ifstream stream(path, std::ios::binary);
    Bytes bytes(error ? 0 : size);
    if (error || !stream.read(bytes.data(), static_cast<std::streamsize>(size))) {
        fail(path.parent_path(), path.filename().string() + " cannot be read");
    }
    return bytes;
}

std::string sha256(const Bytes &bytes) {
    std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
    unsigned length = 0;
    if (EVP_Digest(bytes.data(), bytes.size(), digest.data(), &length, EVP_sha256(), nullptr) != 1) {
        throw Error(NSTOPT_UNEXPECTED, "this machine's OpenSSL offers no SHA-256");
    }
    std::string text;
    for (unsigned index = 0; index < length; ++index) {
        constexpr const char *kDigits = "0123456789abcdef";
        text += {kDigits[digest[index] >> 4], kDigits[digest[index] & 15]};
    }
    return text;
}

// Checks the manifest against its hash, which is in a file of its own: no file can hold its own hash.
void check_manifest(const fs::path &folder, const Bytes &raw) {
    const fs::path sums = folder / (std::string(kManifest) + ".sha256");
    const Bytes line = fs::is_regular_file(sums) ? read_file(sums) : Bytes{};
    if (std::string(line.begin(), line.end()) != sha256(raw) + "  " + kManifest + "\n") {
        fail(folder, std::string(kManifest) + " does not match its hash; build the engine again");
    }
}

// Reads a file of the bundle and checks it against its hash.
Bytes checked_file(const fs::path &folder, const std::string &name, const std::string &digest) {
    const bool is_plain = name.find_first_of(std::string("/\\\0", 3)) == std::string::npos;
    if (name.empty() || name == "." || name == ".." || !is_plain) {
        fail(folder, "the manifest names '" + name + "', which lies outside the bundle");
    }
    if (!fs::is_regular_file(folder / name)) {
        fail(folder, name + " is missing; build the engine again");
    }
    Bytes bytes = read_file(folder / name);
    if (sha256(bytes) != digest) {
        fail(folder, name + " does not match its hash (damaged or changed); build the engine again");
    }
    return bytes;
}

constexpr int kMaxBatch = 4096;  // as in nstopt/limits.py

int whole(const Json &value, const char *name, int low, int high) {
    if (!value.is_number_integer() || value < low || value > high) {
        throw std::invalid_argument(std::string(name) + " is not a whole number in " + std::to_string(low) + ".." +
                                    std::to_string(high));
    }
    return value.get<int>();
}

// Reads {"batch": N or null, "sizes": [[height, width], …]}; an empty list means any size.
InputShape input_shape(const Json &shape) {
    InputShape read;
    if (const Json &batch = shape.at("batch"); !batch.is_null()) {
        read.batch = whole(batch, "batch", 1, kMaxBatch);
    }
    const Json &sizes = shape.at("sizes");
    if (!sizes.is_array()) {
        throw std::invalid_argument("sizes is not a list");
    }
    std::vector<Size> listed;
    for (const Json &size : sizes) {
        if (!size.is_array() || size.size() != 2) {
            throw std::invalid_argument("a size is not [height, width]");
        }
        listed.push_back(
            {whole(size[0], "height", kMinSide, kMaxSide), whole(size[1], "width", kMinSide, kMaxSide)});
    }
    read.sizes = Sizes(listed);
    return read;
}

}  // namespace

std::string to_string(const InputShape &shape) {
    const std::string batch = shape.batch ? std::to_string(*shape.batch) : "any number of";
    return batch + " x " + to_string(shape.sizes);
}

Bundle::Bundle(const fs::path &given) : folder(given) {
    try {
        if (!fs::exists(folder)) {
            fail(folder, "no such folder; build one with: nstopt build-engine NET.onnx -o " + folder.string());
        }
        if (!fs::is_regular_file(folder / kManifest)) {
            fail(folder, std::string("not an engine bundle (no ") + kManifest + " in it)");
        }
        const Bytes raw = read_file(folder / kManifest);
        check_manifest(folder, raw);
        read_manifest(raw);
    } catch (const fs::filesystem_error &error) {
        fail(folder, "cannot be read: " + error.code().message());
    }
}

void Bundle::read_manifest(const Bytes &raw) {
    std::map<std::string, std::string> digests;
    try {
        const Json manifest = Json::parse(raw);
        const int version = whole(manifest.at("format_version"), "format_version", 1, INT32_MAX);
        if (version != kFormatVersion) {
            fail(folder, "bundle format " + std::to_string(version) + ", but this nstopt reads format " +
                             std::to_string(kFormatVersion) + "; build the engine again with this version");
        }
        net = manifest.at("net").at("name").get<std::string>();
        backend = manifest.at("backend").at("name").get<std::string>();
        shape = input_shape(manifest.at("shape"));
        digests = manifest.at("files").get<decltype(digests)>();
    } catch (const Error &) {
        throw;
    } catch (const std::exception &error) {  // the JSON library's, or std::invalid_argument
        fail(folder, std::string(kManifest) + " is not valid: " + error.what() + "; build the engine again");
    }
    for (const auto &[name, digest] : digests) {
        files_[name] = checked_file(folder, name, digest);
    }
}

const Bytes &Bundle::file(const std::string &name) const {
    const auto found = files_.find(name);
    if (found == files_.end()) {
        fail(folder, "the manifest lists no " + name + "; build the engine again");
    }
    return found->second;
}

}  // namespace nstopt::detail
