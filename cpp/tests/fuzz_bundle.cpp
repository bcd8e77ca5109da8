// Reads changed manifests: nstopt-fuzz-bundle BUNDLE COUNT [SEED]. Each must end with a bundle or with an Error; anything
// else ends the program, as does what the sanitizers find. Works on a copy of BUNDLE in a temporary folder.
#include <openssl/evp.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <unistd.h>

#include "../src/bundle.hpp"
#include "../src/error.hpp"

namespace {

namespace fs = std::filesystem;

std::string read(const fs::path &path) {
    std::ifstream stream(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(stream), {}};
}

void write(const fs::path &path, const std::string &content) {
    std::ofstream(path, std::ios::binary).write(content.data(), static_cast<std::streamsize>(content.size()));
}

std::string sha256(const std::string &text) {
    std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
    unsigned length = 0;
    EVP_Digest(text.data(), text.size(), digest.data(), &length, EVP_sha256(), nullptr);
    std::string hex;
    for (unsigned index = 0; index < length; ++index) {
        std::array<char, 3> two{};
        std::snprintf(two.data(), two.size(), "%02x", digest[index]);
        hex += two.data();
    }
    return hex;
}

// What JSON readers stumble over, put in the place of a few bytes.
const std::array<std::string, 22> kParts{
    "-1", "0", "1e308", "99999999999999999999", "0.5", "null", "true", "[]", "{}", "[[]]", "\"\"", "\"../../EVIL\"",
    "\"\\u0000\"", "\"\\ud800\"", "\xff\xfe", std::string(1, '\0'), "{\"a\":", "]", "}", ",", std::string(5000, '['),
    std::string(5000, 'x')};

std::string changed(std::string text, std::mt19937_64 &random) {
    const auto below = [&](std::size_t bound) { return bound ? random() % bound : 0; };
    for (std::size_t left = 1 + below(3); left > 0; --left) {
        const std::size_t begin = below(text.size()), length = below(2) ? below(4) : below(60);
        switch (below(5)) {
        case 0: text.replace(begin, length, kParts[below(kParts.size())]); break;
        case 1: text.erase(begin, length); break;
        case 2: text.insert(begin, text.substr(begin, length)); break;
        case 3: text.resize(begin); break;
        default:
            if (!text.empty()) {
                text[begin] = static_cast<char>(text[begin] ^ (1 << below(8)));
            }
        }
    }
    return text;
}

}  // namespace

int main(int count, char **arguments) {
    if (count < 3) {
        std::fputs("usage: nstopt-fuzz-bundle BUNDLE COUNT [SEED]\n", stderr);
        return 2;
    }
    const fs::path folder = fs::temp_directory_path() / ("nstopt-fuzz-" + std::to_string(getpid()) + ".nst");
    fs::copy(arguments[1], folder);
    const std::string sound = read(folder / "manifest.json");
    std::mt19937_64 random(count > 3 ? std::strtoull(arguments[3], nullptr, 10) : 0);
    const long tries = std::strtol(arguments[2], nullptr, 10);
    long accepted = 0;
    for (long number = 0; number < tries; ++number) {
        const std::string manifest = number ? changed(sound, random) : sound;
        write(folder / "manifest.json", manifest);
        write(folder / "manifest.json.sha256", sha256(manifest) + "  manifest.json\n");
        try {
            nstopt::detail::Bundle bundle(folder);
            ++accepted;
        } catch (const nstopt::detail::Error &) {
        }
    }
    fs::remove_all(folder);
    std::printf("%ld manifests, %ld of them bundles\n", tries, accepted);
    return accepted > 0 ? 0 : 1;
}
