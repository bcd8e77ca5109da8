#include "bundle.hpp"

#include <openssl/evp.h>

#include <array>
#include <fstream>
#include <nlohmann/json.hpp>

#include "error.hpp"

namespace nstopt {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

constexpr int kFormatVersion = 1;
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
        throw Error(NSTOPT_UNEXPECTED, "OpenSSL offers no SHA-256 here");
    }
    std::string text;
    for (unsigned index = 0; index < length; ++index) {
        constexpr const char *kDigits = "0123456789abcdef";
        text += {kDigits[digest[index] >> 4], kDigits[digest[index] & 15]};
    }
    return text;
}

// The manifest's own hash is a file of its own, since no file can hold its own hash.
void check_manifest(const fs::path &folder, const Bytes &raw) {
    const fs::path sums = folder / (std::string(kManifest) + ".sha256");
    const Bytes line = fs::is_regular_file(sums) ? read_file(sums) : Bytes{};
    const std::string text(line.begin(), line.end());
    if (sha256(raw) != text.substr(0, text.find(' '))) {
        fail(folder, std::string(kManifest) + " does not match its hash; build the engine again");
    }
}

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

int whole_number(const Json &value, const char *name) {
    if (!value.is_number_integer() || value < 0 || value > INT32_MAX) {
        throw std::invalid_argument(std::string(name) + " is not a number that makes sense");
    }
    return value.get<int>();
}

// A dimension of the pictures: null where any value is taken.
int dimension(const Json &shape, const char *name) {
    const Json &value = shape.at(name);
    const int number = value.is_null() ? 0 : whole_number(value, name);
    if (!value.is_null() && number == 0) {
        throw std::invalid_argument(std::string(name) + " is 0");
    }
    return number;
}

std::vector<Size> listed_sizes(const Json &shape) {
    std::vector<Size> sizes;
    for (const Json &size : shape.value("sizes", Json::array())) {
        sizes.push_back({whole_number(size.at(0), "height"), whole_number(size.at(1), "width")});
    }
    return sizes;
}

}  // namespace

Bundle::Bundle(const fs::path &given) : folder(given), shape{} {
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
        const int version = whole_number(manifest.at("format_version"), "format_version");
        if (version != kFormatVersion) {
            fail(folder, "bundle format " + std::to_string(version) + ", but this nstopt reads format " +
                             std::to_string(kFormatVersion) + "; build the engine again with this version");
        }
        net = manifest.at("net").at("name").get<std::string>();
        backend = manifest.at("backend").at("name").get<std::string>();
        const Json &dims = manifest.at("shape");
        shape = {dimension(dims, "batch"), dimension(dims, "height"), dimension(dims, "width")};
        sizes = listed_sizes(dims);
        digests = manifest.at("files").get<decltype(digests)>();
    } catch (const Error &) {
        throw;
    } catch (const std::exception &error) {  // of the JSON library, or from whole_number
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

}  // namespace nstopt
