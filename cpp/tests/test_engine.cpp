// Results equal Python's bit for bit, whatever the memory layout, the thread or the call.
#include <doctest/doctest.h>

#include <algorithm>
#include <csignal>
#include <memory>
#include <nstopt.hpp>
#include <string>
#include <thread>
#include <vector>

#include "data.hpp"

namespace {

constexpr std::uint8_t kUntouched = 0xA5;

// Pictures with gaps: `gap` bytes follow each row, and one more row follows each picture.
struct Gapped {
    Gapped(nstopt_shape shape, std::ptrdiff_t gap, bool is_bottom_up)
        : bytes(shape.width * 3), row(bytes + gap), height(shape.height), rows(shape.batch * (shape.height + 1)) {
        memory.assign(std::size_t(rows * row), kUntouched);
        strides = {is_bottom_up ? -row : row, (height + 1) * row};
        first = memory.data() + (is_bottom_up ? (height - 1) * row : 0);
    }

    // Calls `function` with each row of pixels and its index among the packed rows.
    template <class Function>
    void each_row(nstopt_shape shape, Function &&function) {
        for (int picture = 0; picture < shape.batch; ++picture) {
            for (int line = 0; line < shape.height; ++line) {
                function(first + picture * strides.picture + line * strides.row, picture * shape.height + line);
            }
        }
    }

    std::ptrdiff_t bytes, row, height, rows;
    Pixels memory;
    nstopt_strides strides{};
    std::uint8_t *first;
};

void check_gapped(nstopt::Engine &engine, const Case &one, bool is_bottom_up) {
    Gapped image(one.shape, 7, is_bottom_up), stylized(one.shape, 12, is_bottom_up);
    image.each_row(one.shape, [&](std::uint8_t *row, int index) {
        std::copy_n(one.image.data() + index * image.bytes, image.bytes, row);
    });
    engine.stylize(one.shape, image.first, stylized.first, image.strides, stylized.strides);
    bool is_equal = true;
    stylized.each_row(one.shape, [&](std::uint8_t *row, int index) {
        is_equal &= std::equal(row, row + stylized.bytes, one.stylized.data() + index * stylized.bytes);
        std::fill_n(row, stylized.bytes, kUntouched);  // then only the gaps can differ from kUntouched
    });
    CHECK(is_equal);
    CHECK(std::all_of(stylized.memory.begin(), stylized.memory.end(), [](auto byte) { return byte == kUntouched; }));
}

nstopt_status status_of(nstopt::Engine &engine, nstopt_shape shape) {
    Pixels pixels(std::size_t(4) * 80 * 80 * 3);
    try {
        engine.stylize(shape, pixels.data(), pixels.data());
        return NSTOPT_OK;
    } catch (const nstopt::Exception &error) {
        return error.status();
    }
}

}  // namespace

TEST_CASE("results equal Python's bit for bit") {
    for (const Case &one : cases()) {
        CAPTURE(one.bundle);
        REQUIRE(one.image.size() == std::size_t(one.shape.batch) * std::size_t(one.shape.height * one.shape.width * 3));
        nstopt::Engine engine(test_data(one.bundle).c_str());
        CHECK(std::string(engine.backend()) == "openvino");
        Pixels stylized(one.image.size());
        engine.stylize(one.shape, one.image.data(), stylized.data());
        CHECK((stylized == one.stylized));
        check_gapped(engine, one, false);
        check_gapped(engine, one, true);
        Pixels later(one.image.size());
        engine.submit(one.shape, one.image.data(), later.data()).wait();
        CHECK((later == one.stylized));
        Pixels in_place = one.image;
        engine.stylize(one.shape, in_place.data(), in_place.data());
        CHECK((in_place == one.stylized));
    }
}

TEST_CASE("one CPU thread gives the same result") {
    const Case one = cases().front();
    nstopt_options options = nstopt::default_options();
    options.threads = 1;
    nstopt::Engine engine(test_data(one.bundle).c_str(), options);
    Pixels stylized(one.image.size());
    engine.stylize(one.shape, one.image.data(), stylized.data());
    CHECK((stylized == one.stylized));
}

TEST_CASE("a signal can be handled after engines were freed in the order of their loading") {
    const std::string bundle = test_data(cases().front().bundle);
    auto first = std::make_unique<nstopt::Engine>(bundle.c_str());
    auto second = std::make_unique<nstopt::Engine>(bundle.c_str());
    first.reset();
    second.reset();
    static volatile std::sig_atomic_t is_handled = 0;
    struct sigaction action{}, before{};
    action.sa_handler = [](int) { is_handled = 1; };
    action.sa_flags = SA_ONSTACK;  // on the stack that a Core installs; Python's handlers run there too
    REQUIRE(sigaction(SIGUSR1, &action, &before) == 0);
    std::raise(SIGUSR1);
    sigaction(SIGUSR1, &before, nullptr);
    CHECK(is_handled == 1);
}

TEST_CASE("a third job is refused while two are in flight") {
    const Case one = cases().front();
    nstopt::Engine engine(test_data(one.bundle).c_str());
    std::vector<Pixels> results(4, Pixels(one.image.size()));
    for (int round = 0; round < 3; ++round) {
        nstopt::InferRequest first = engine.submit(one.shape, one.image.data(), results[0].data());
        nstopt::InferRequest second = engine.submit(one.shape, one.image.data(), results[1].data());
        try {
            engine.submit(one.shape, one.image.data(), results[2].data()).wait();
            FAIL("a third job was taken");
        } catch (const nstopt::Exception &error) {
            CHECK(error.status() == NSTOPT_BUSY);
        }
        engine.stylize(one.shape, one.image.data(), results[3].data());  // waits for no job
        CHECK((results[3] == one.stylized));
        second.wait();
        first.wait();
        CHECK((results[0] == one.stylized));
        CHECK((results[1] == one.stylized));
        for (Pixels &result : results) {
            std::fill(result.begin(), result.end(), kUntouched);
        }
    }
}

TEST_CASE("a job outlives the engine that it was submitted to") {
    const Case one = cases().front();
    nstopt_engine *engine = nullptr;
    nstopt_job *job = nullptr;
    Pixels stylized(one.image.size());
    REQUIRE(nstopt_load(test_data(one.bundle).c_str(), nullptr, &engine) == NSTOPT_OK);
    REQUIRE(nstopt_submit(engine, &one.shape, one.image.data(), nullptr, stylized.data(), nullptr, &job) == NSTOPT_OK);
    nstopt_free(engine);
    CHECK(nstopt_wait(job) == NSTOPT_OK);
    CHECK((stylized == one.stylized));
}

TEST_CASE("threads share an engine") {
    const Case one = cases().front();
    nstopt::Engine engine(test_data(one.bundle).c_str());
    std::vector<Pixels> results(4, Pixels(one.image.size()));
    std::vector<std::thread> threads;
    for (std::size_t index = 0; index < results.size(); ++index) {
        threads.emplace_back([&, index] {
            Pixels &result = results[index];
            for (int round = 0; round < 5; ++round) {
                std::fill(result.begin(), result.end(), kUntouched);
                if (index < 2) {  // two threads submit jobs, as many as max_jobs allows
                    engine.submit(one.shape, one.image.data(), result.data()).wait();
                } else {
                    engine.stylize(one.shape, one.image.data(), result.data());
                }
            }
        });
    }
    for (std::thread &thread : threads) {
        thread.join();
    }
    for (const Pixels &result : results) {
        CHECK((result == one.stylized));
    }
}

TEST_CASE("pictures that do not fit the engine are refused") {
    nstopt::Engine fixed(test_data("fixed.nst").c_str());
    CHECK(fixed.shape().batch == 2);
    CHECK(fixed.shape().height == 48);
    CHECK(fixed.shape().width == 64);
    CHECK(status_of(fixed, {2, 48, 64}) == NSTOPT_OK);
    CHECK(status_of(fixed, {1, 64, 48}) == NSTOPT_BAD_SIZE);
    const std::string message = nstopt_last_error();
    CHECK(message.find("is built for pictures of (batch x height x width) 2 x 48x64, not 1 x 64x48; "
                       "build with --res 64x48 --batch 1") != std::string::npos);
    nstopt::Engine several(test_data("sizes.nst").c_str());
    CHECK(several.shape().batch == 0);
    CHECK(several.shape().height == 0);
    CHECK(several.shape().width == 0);
    CHECK(status_of(several, {1, 48, 64}) == NSTOPT_OK);
    CHECK(status_of(several, {1, 32, 32}) == NSTOPT_OK);
    CHECK(status_of(several, {1, 32, 64}) == NSTOPT_BAD_SIZE);
    CHECK(std::string(nstopt_last_error())
              .find("(batch x height x width) any number of x 48x64, 32x32, not 1 x 32x64; "
                    "build with --res 32x64 --batch 1") != std::string::npos);
    nstopt::Engine any(test_data("any.nst").c_str());
    CHECK(any.shape().batch == 0);
    CHECK(any.shape().height == 0);
    CHECK(any.shape().width == 0);
    for (const nstopt_shape &shape :
         {nstopt_shape{1, 15, 64}, nstopt_shape{1, 64, 15}, nstopt_shape{0, 64, 64}, nstopt_shape{-1, 64, 64},
          nstopt_shape{1, -64, 64}, nstopt_shape{1, 64, INT32_MAX}, nstopt_shape{INT32_MAX, INT32_MAX, INT32_MAX},
          nstopt_shape{1, INT32_MIN, 64}}) {
        CHECK(status_of(any, shape) == NSTOPT_BAD_SIZE);
    }
    CHECK(status_of(any, {1, 16, 16}) == NSTOPT_OK);  // the engine still runs
}
