// Test data that tests/cpp/conftest.py writes: bundles, pictures, and Python's results on them.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <vector>

#include "nstopt.h"

using Pixels = std::vector<std::uint8_t>;

inline std::string test_data(const std::string &name) {
    const char *folder = std::getenv("NSTOPT_TEST_DATA");
    if (!folder) {
        throw std::runtime_error("NSTOPT_TEST_DATA is not set: run make cpp");
    }
    return std::string(folder) + "/" + name;
}

inline Pixels read_pixels(const std::string &name) {
    std::ifstream stream(test_data(name), std::ios::binary);
    return {std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>()};
}

// One line of cases.txt: a bundle, pictures that fit it, and Python's result on them.
struct Case {
    std::string bundle;
    nstopt_shape shape;
    Pixels image;
    Pixels stylized;
};

inline std::vector<Case> cases() {
    std::ifstream lines(test_data("cases.txt"));
    std::vector<Case> found;
    std::string bundle, image, stylized;
    nstopt_shape shape{};
    while (lines >> bundle >> shape.batch >> shape.height >> shape.width >> image >> stylized) {
        found.push_back({bundle, shape, read_pixels(image), read_pixels(stylized)});
    }
    if (found.empty()) {
        throw std::runtime_error("cases.txt is empty");
    }
    return found;
}
