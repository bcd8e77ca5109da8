// Damaged bundles are refused before the backend reads them.
#include <doctest/doctest.h>

#include <fstream>
#include <nstopt.hpp>
#include <string>

#include "data.hpp"

TEST_CASE("damaged bundles are refused") {
    std::ifstream lines(test_data("damaged.txt"));  // folder, then part of the message
    std::string folder, message;
    int count = 0;
    while (lines >> folder && std::getline(lines >> std::ws, message)) {
        CAPTURE(folder);
        nstopt_engine *engine = nullptr;
        CHECK(nstopt_load(test_data(folder).c_str(), nullptr, &engine) == NSTOPT_BAD_BUNDLE);
        CHECK(engine == nullptr);
        CHECK(std::string(nstopt_last_error()).find(message) != std::string::npos);
        ++count;
    }
    CHECK(count > 10);
}

TEST_CASE("OpenVINO's reason is one line if it cannot read a file whose hash matches") {
    nstopt_engine *engine = nullptr;
    CHECK(nstopt_load(test_data("nonsense.nst").c_str(), nullptr, &engine) == NSTOPT_BAD_DEVICE);
    CHECK(std::string(nstopt_last_error()).find("OpenVINO cannot load ") == 0);
    CHECK(std::string(nstopt_last_error()).find('\n') == std::string::npos);
}
