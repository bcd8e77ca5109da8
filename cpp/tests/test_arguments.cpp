// Invalid arguments are errors, never crashes.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include <climits>
#include <cstddef>
#include <cstring>
#include <nstopt.hpp>
#include <string>
#include <thread>

#include "data.hpp"

namespace {

bool message_has(const char *text) { return std::strstr(nstopt_last_error(), text) != nullptr; }

nstopt_status load_with(nstopt_options options) {
    nstopt_engine *engine = nullptr;
    const nstopt_status status = nstopt_load(test_data("any.nst").c_str(), &options, &engine);
    CHECK(engine == nullptr);
    return status;
}

}  // namespace

TEST_CASE("null pointers are errors") {
    nstopt_engine *engine = nullptr;
    CHECK(nstopt_load(nullptr, nullptr, &engine) == NSTOPT_BAD_ARGUMENT);
    CHECK(message_has("bundle is NULL"));
    CHECK(nstopt_load("x", nullptr, nullptr) == NSTOPT_BAD_ARGUMENT);
    CHECK(nstopt_options_init(nullptr, sizeof(nstopt_options)) == NSTOPT_BAD_ARGUMENT);
    CHECK(nstopt_wait(nullptr) == NSTOPT_BAD_ARGUMENT);
    CHECK(nstopt_engine_backend(nullptr) == nullptr);
    nstopt_free(nullptr);

    nstopt_shape shape{1, 48, 64};
    nstopt_job *job = nullptr;
    Pixels pixels(48 * 64 * 3);
    CHECK(nstopt_engine_shape(nullptr, &shape) == NSTOPT_BAD_ARGUMENT);
    CHECK(nstopt_stylize(nullptr, &shape, pixels.data(), nullptr, pixels.data(), nullptr) == NSTOPT_BAD_ARGUMENT);
    REQUIRE(nstopt_load(test_data("any.nst").c_str(), nullptr, &engine) == NSTOPT_OK);
    CHECK(nstopt_engine_shape(engine, nullptr) == NSTOPT_BAD_ARGUMENT);
    CHECK(nstopt_stylize(engine, nullptr, pixels.data(), nullptr, pixels.data(), nullptr) == NSTOPT_BAD_ARGUMENT);
    CHECK(nstopt_stylize(engine, &shape, nullptr, nullptr, pixels.data(), nullptr) == NSTOPT_BAD_ARGUMENT);
    CHECK(message_has("image is NULL"));
    CHECK(nstopt_stylize(engine, &shape, pixels.data(), nullptr, nullptr, nullptr) == NSTOPT_BAD_ARGUMENT);
    CHECK(nstopt_enqueue(engine, &shape, nullptr, pixels.data(), nullptr) == NSTOPT_BAD_ARGUMENT);
    CHECK(nstopt_enqueue(engine, &shape, pixels.data(), nullptr, nullptr) == NSTOPT_BAD_ARGUMENT);
    CHECK(nstopt_submit(engine, &shape, pixels.data(), nullptr, pixels.data(), nullptr, nullptr) ==
          NSTOPT_BAD_ARGUMENT);
    CHECK(nstopt_submit(engine, &shape, pixels.data(), nullptr, nullptr, nullptr, &job) == NSTOPT_BAD_ARGUMENT);
    CHECK(job == nullptr);
    nstopt_free(engine);
}

TEST_CASE("options out of range are errors") {
    nstopt_options options;
    CHECK(nstopt_options_init(&options, sizeof options - 1) == NSTOPT_BAD_ARGUMENT);
    CHECK(message_has("set it with nstopt_options_init, of the same nstopt.h"));
    options = nstopt::default_options();
    CHECK(options.threads == 0);
    CHECK(options.max_jobs == 2);
    CHECK(options.gpu == 0);

    nstopt_options wrong = options;
    wrong.struct_size = 0;  // as if nstopt_options_init had been forgotten
    CHECK(load_with(wrong) == NSTOPT_BAD_ARGUMENT);
    wrong = options;
    wrong.threads = -1;
    CHECK(load_with(wrong) == NSTOPT_BAD_ARGUMENT);
    CHECK(message_has("the option threads is -1, but must lie in 0..1024"));
    wrong = options;
    wrong.max_jobs = 0;
    CHECK(load_with(wrong) == NSTOPT_BAD_ARGUMENT);
    wrong = options;
    wrong.gpu = -1;
    CHECK(load_with(wrong) == NSTOPT_BAD_ARGUMENT);
}

TEST_CASE("strides that make rows or pictures overlap are errors") {
    nstopt::Engine engine(test_data("any.nst").c_str());
    const nstopt_shape shape{2, 20, 30};
    Pixels image(2 * 20 * 30 * 3), stylized(image.size());
    const auto status = [&](nstopt_strides image_strides, nstopt_strides stylized_strides) {
        try {
            engine.stylize(shape, image.data(), stylized.data(), image_strides, stylized_strides);
            return NSTOPT_OK;
        } catch (const nstopt::Exception &error) {
            return error.status();
        }
    };
    CHECK(status({}, {}) == NSTOPT_OK);
    for (const std::ptrdiff_t row : {std::ptrdiff_t(89), std::ptrdiff_t(-89), std::ptrdiff_t(1), PTRDIFF_MIN,
                                     PTRDIFF_MAX}) {
        CHECK(status({row, 0}, {}) == NSTOPT_BAD_ARGUMENT);
        CHECK(message_has("the row stride of image is "));
        CHECK(message_has(" bytes, but a row has 90"));
        CHECK(status({}, {row, 0}) == NSTOPT_BAD_ARGUMENT);
    }
    for (const std::ptrdiff_t picture : {std::ptrdiff_t(1799), std::ptrdiff_t(-1799), PTRDIFF_MIN, PTRDIFF_MAX}) {
        CHECK(status({90, picture}, {}) == NSTOPT_BAD_ARGUMENT);
        CHECK(status({}, {90, picture}) == NSTOPT_BAD_ARGUMENT);
        CHECK(message_has("the picture stride of stylized is "));
    }
}

TEST_CASE("each thread has its own last error") {
    CHECK(nstopt_wait(nullptr) == NSTOPT_BAD_ARGUMENT);
    const std::string mine = nstopt_last_error();
    std::string first, second;
    std::thread other([&] {
        first = nstopt_last_error();
        nstopt_engine *engine = nullptr;
        nstopt_load("/nowhere", nullptr, &engine);
        second = nstopt_last_error();
    });
    other.join();
    CHECK(first == "");
    CHECK(second.find("/nowhere: no such folder") == 0);
    CHECK(nstopt_last_error() == mine);
}

TEST_CASE("engines on the CPU take no memory of a GPU") {
    nstopt_engine *engine = nullptr;
    REQUIRE(nstopt_load(test_data("any.nst").c_str(), nullptr, &engine) == NSTOPT_OK);
    alignas(256) static std::uint8_t image[48 * 64 * 3], stylized[48 * 64 * 3];
    const nstopt_shape shape{1, 48, 64};
    CHECK(nstopt_enqueue(engine, &shape, image, stylized, nullptr) == NSTOPT_BAD_DEVICE);
    CHECK(message_has("only engines of TensorRT take GPU memory"));
    nstopt_free(engine);
}
