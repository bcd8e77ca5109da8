// The TensorRT backend on the test double in host_gpu/, whose plans invert pictures: threads, jobs, sizes, failures.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include <algorithm>
#include <nstopt.hpp>
#include <random>
#include <string>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

#include "data.hpp"
#include "host_gpu/host_gpu.hpp"

namespace {

constexpr nstopt_shape kSmall{1, 16, 16}, kLarge{1, 32, 48};

// Random pictures, and the memory of their result.
struct Picture {
    explicit Picture(nstopt_shape shape)
        : shape(shape), image(std::size_t(shape.batch * shape.height * shape.width * 3)) {
        static thread_local std::minstd_rand random;
        std::generate(image.begin(), image.end(), [] { return std::uint8_t(random()); });
        stylized.resize(image.size());
    }
    // Returns true if `stylized` is the inverted `image`.
    bool is_right() const {
        return std::equal(image.begin(), image.end(), stylized.begin(),
                          [](int before, int after) { return before + after == 255; });
    }
    nstopt_status stylize(nstopt_engine *engine) {
        return nstopt_stylize(engine, &shape, image.data(), nullptr, stylized.data(), nullptr);
    }
    nstopt_status submit(nstopt_engine *engine) {
        return nstopt_submit(engine, &shape, image.data(), nullptr, stylized.data(), nullptr, &job);
    }

    nstopt_shape shape;
    Pixels image, stylized;
    nstopt_job *job = nullptr;
};

nstopt_engine *load(const std::string &bundle, int gpu = 1) {
    nstopt_options options = nstopt::default_options();
    options.gpu = gpu;
    nstopt_engine *engine = nullptr;
    nstopt_load(test_data(bundle).c_str(), &options, &engine);
    return engine;
}

bool message_has(const std::string &text) { return std::string(nstopt_last_error()).find(text) != std::string::npos; }

// Checks that every object was freed, that no CUDA error is pending, and that GPU 0 is current.
void check_clean() {
    CHECK(host_gpu::alive() == 0);
    CHECK(cudaGetLastError() == cudaSuccess);
    CHECK(host_gpu::current_gpu() == 0);
}

// Makes a call, submits two jobs and makes another call, in two sizes. Each must be right; if `may_fail`, it may also
// fail with NSTOPT_BAD_DEVICE.
void use(nstopt_engine *engine, bool may_fail, nstopt_shape other = kSmall) {
    std::vector<Picture> pictures{Picture(kLarge), Picture(other), Picture(kLarge), Picture(other)};
    std::vector<nstopt_status> status{pictures[0].stylize(engine), pictures[1].submit(engine),
                                      pictures[2].submit(engine), pictures[3].stylize(engine)};
    for (std::size_t job : {2, 1}) {
        status[job] = pictures[job].job ? nstopt_wait(pictures[job].job) : status[job];
    }
    for (std::size_t index = 0; index < status.size(); ++index) {
        CAPTURE(index);
        if (status[index] == NSTOPT_OK) {
            CHECK(pictures[index].is_right());
        } else {
            CHECK(status[index] == NSTOPT_BAD_DEVICE);
            CHECK(may_fail);
        }
    }
}

}  // namespace

TEST_CASE("plans run for one size, for several and for any") {
    for (const auto &[bundle, shapes] : std::vector<std::pair<std::string, std::vector<nstopt_shape>>>{
             {"plan-one.nst", {kLarge, kLarge}},
             {"plan-sizes.nst", {kSmall, kLarge, kSmall}},
             {"plan-any.nst", {{1, 64, 64}, {4, 16, 20}, {1, 33, 51}}}}) {
        CAPTURE(bundle);
        nstopt_engine *engine = load(bundle);
        REQUIRE(engine);
        CHECK(std::string(nstopt_engine_backend(engine)) == "tensorrt");
        for (const nstopt_shape &shape : shapes) {
            Picture picture(shape), later(shape);
            CHECK(picture.stylize(engine) == NSTOPT_OK);
            CHECK(picture.is_right());
            REQUIRE(later.submit(engine) == NSTOPT_OK);
            CHECK(nstopt_wait(later.job) == NSTOPT_OK);
            CHECK(later.is_right());
        }
        nstopt_free(engine);
        check_clean();
    }
}

TEST_CASE("jobs can be waited for in any order") {
    nstopt_engine *engine = load("plan-sizes.nst");
    REQUIRE(engine);
    for (int round = 0; round < 20; ++round) {
        use(engine, false);
    }
    nstopt_free(engine);
    check_clean();
}

TEST_CASE("threads share an engine") {
    nstopt_engine *engine = load("plan-any.nst");
    REQUIRE(engine);
    std::vector<std::thread> threads;
    for (int number = 0; number < 4; ++number) {
        threads.emplace_back([=] {
            for (int round = 0; round < 25; ++round) {
                Picture picture({1, 16 + 4 * number + round % 3, 24});
                if (number < 2) {  // two threads submit jobs, as many as max_jobs allows
                    CHECK(picture.submit(engine) == NSTOPT_OK);
                    CHECK(nstopt_wait(picture.job) == NSTOPT_OK);
                } else {
                    CHECK(picture.stylize(engine) == NSTOPT_OK);
                }
                CHECK(picture.is_right());
            }
        });
    }
    for (std::thread &thread : threads) {
        thread.join();
    }
    nstopt_free(engine);
    check_clean();
}

TEST_CASE("a job outlives its engine and can end in another thread") {
    nstopt_engine *engine = load("plan-any.nst");
    Picture first(kLarge), second(kSmall);
    REQUIRE(first.submit(engine) == NSTOPT_OK);
    REQUIRE(second.submit(engine) == NSTOPT_OK);
    nstopt_free(engine);
    CHECK(nstopt_wait(first.job) == NSTOPT_OK);
    std::thread([&] { CHECK(nstopt_wait(second.job) == NSTOPT_OK); }).join();
    CHECK(first.is_right());
    CHECK(second.is_right());
    check_clean();
}

TEST_CASE("a run that fails on the GPU leaves other runs alone") {
    nstopt_engine *engine = load("plan-any.nst");
    Picture first(kLarge), second(kSmall);
    host_gpu::fail_run();
    REQUIRE(first.submit(engine) == NSTOPT_OK);
    REQUIRE(second.submit(engine) == NSTOPT_OK);
    std::vector<nstopt_status> status;  // the jobs run side by side: either may be the one that fails
    for (Picture *picture : {&first, &second}) {
        status.push_back(nstopt_wait(picture->job));
        CHECK(picture->is_right() == (status.back() == NSTOPT_OK));
    }
    CHECK(std::count(status.begin(), status.end(), NSTOPT_OK) == 1);
    CHECK(std::count(status.begin(), status.end(), NSTOPT_BAD_DEVICE) == 1);
    CHECK(message_has("CUDA cannot finish the run: cudaErrorLaunchFailure: unspecified launch failure"));
    use(engine, false);
    nstopt_free(engine);
    check_clean();
}

TEST_CASE("after the failure of any call, nothing leaks and the engine runs again") {
    for (const std::string bundle : {"plan-one.nst", "plan-sizes.nst", "plan-any.nst"}) {
        const nstopt_shape other = bundle == "plan-one.nst" ? kLarge : kSmall;
        bool was_reached = true;
        for (int call = 1; was_reached; ++call) {
            CAPTURE(bundle);
            CAPTURE(call);
            host_gpu::fail_call(call);
            nstopt_engine *engine = load(bundle);
            if (engine) {
                use(engine, true, other);
            }
            was_reached = host_gpu::has_failed();
            CHECK((engine || was_reached));
            host_gpu::fail_call(0);
            cudaSetDevice(0);  // since the call that restores it may have failed
            if (engine) {
                use(engine, false, other);
            }
            nstopt_free(engine);
            check_clean();
        }
    }
}

TEST_CASE("an engine is freed completely even if a call fails meanwhile") {
    bool was_reached = true;
    for (int call = 1; was_reached; ++call) {
        CAPTURE(call);
        nstopt_engine *engine = load("plan-sizes.nst");
        REQUIRE(engine);
        use(engine, false);
        host_gpu::fail_call(call);
        nstopt_free(engine);
        was_reached = host_gpu::has_failed();
        host_gpu::fail_call(0);
        cudaSetDevice(0);
        check_clean();
    }
}

TEST_CASE("a run at the same addresses becomes a graph") {
    nstopt_engine *engine = load("plan-sizes.nst");
    REQUIRE(engine);
    std::vector<int> launches;
    for (nstopt_shape shape : {kLarge, kLarge, kLarge, kSmall, kSmall, kSmall, kLarge}) {
        Picture picture(shape);
        const int before = host_gpu::launched_graphs();
        CHECK(picture.stylize(engine) == NSTOPT_OK);
        CHECK(picture.is_right());
        launches.push_back(host_gpu::launched_graphs() - before);
    }
    CHECK(launches == std::vector<int>{0, 0, 1, 0, 0, 1, 0});
    nstopt_free(engine);
    check_clean();
}

TEST_CASE("before TensorRT 8.6, requests of a size are as many as its profiles") {
    host_gpu::set_version(8503);
    nstopt_options options = nstopt::default_options();
    options.max_jobs = 4;
    nstopt_engine *engine = nullptr;
    REQUIRE(nstopt_load(test_data("plan-sizes.nst").c_str(), &options, &engine) == NSTOPT_OK);
    std::vector<Picture> large(3, Picture(kLarge));  // the plan has two profiles for this size
    CHECK(large[0].submit(engine) == NSTOPT_OK);
    CHECK(large[1].submit(engine) == NSTOPT_OK);
    CHECK(large[2].submit(engine) == NSTOPT_BUSY);
    CHECK(message_has("all profiles of the plan for this size are in use: wait for a job"));
    Picture small(kSmall);
    CHECK(small.submit(engine) == NSTOPT_OK);
    for (Picture *picture : {&large[0], &large[1], &small}) {
        CHECK(nstopt_wait(picture->job) == NSTOPT_OK);
        CHECK(picture->is_right());
    }
    CHECK(large[2].submit(engine) == NSTOPT_OK);
    CHECK(nstopt_wait(large[2].job) == NSTOPT_OK);
    nstopt_free(engine);
    host_gpu::set_version(8601);
    check_clean();
}

TEST_CASE("pictures in GPU memory are stylized in the order of their stream") {
    cudaSetDevice(1);
    nstopt_engine *engine = load("plan-any.nst");
    REQUIRE(engine);
    const std::size_t bytes = std::size_t(kLarge.height * kLarge.width * 3);
    cudaStream_t stream = nullptr;
    void *host = nullptr, *image = nullptr, *stylized = nullptr;
    REQUIRE(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking) == cudaSuccess);
    REQUIRE(cudaMallocHost(&host, bytes) == cudaSuccess);
    REQUIRE(cudaMalloc(&image, bytes) == cudaSuccess);
    REQUIRE(cudaMalloc(&stylized, bytes) == cudaSuccess);
    auto *pixels = static_cast<std::uint8_t *>(host);
    const int before = host_gpu::launched_graphs();
    for (int round = 0; round < 4; ++round) {
        for (std::size_t index = 0; index < bytes; ++index) {
            pixels[index] = std::uint8_t(index * 7 + std::size_t(round));
        }
        cudaMemcpyAsync(image, host, bytes, cudaMemcpyHostToDevice, stream);
        REQUIRE(nstopt_enqueue(engine, &kLarge, image, stylized, stream) == NSTOPT_OK);
        cudaMemcpyAsync(host, stylized, bytes, cudaMemcpyDeviceToHost, stream);
        cudaStreamSynchronize(stream);
        std::size_t right = 0;
        for (std::size_t index = 0; index < bytes; ++index) {
            right += pixels[index] == std::uint8_t(255 - std::uint8_t(index * 7 + std::size_t(round)));
        }
        CHECK(right == bytes);
    }
    CHECK(host_gpu::launched_graphs() - before == 2);
    CHECK(nstopt_enqueue(engine, &kLarge, image, image, stream) == NSTOPT_BAD_ARGUMENT);
    CHECK(message_has("image and stylized overlap"));
    CHECK(nstopt_enqueue(engine, &kSmall, static_cast<char *>(image) + 1, stylized, stream) == NSTOPT_BAD_ARGUMENT);
    CHECK(message_has("must be aligned to 256 bytes"));
    Picture picture(kSmall);
    CHECK(picture.stylize(engine) == NSTOPT_OK);
    CHECK(picture.is_right());
    nstopt_free(engine);
    cudaFree(image);
    cudaFree(stylized);
    cudaFreeHost(host);
    cudaStreamDestroy(stream);
    cudaSetDevice(0);
    check_clean();
}

TEST_CASE("each pair of GPU addresses has its graph, and the least recently used leaves") {
    constexpr std::size_t kBytes = 16 * 16 * 3, kGraphs = 8;
    cudaSetDevice(1);
    nstopt_engine *engine = load("plan-any.nst");
    REQUIRE(engine);
    cudaStream_t stream = nullptr;
    void *host = nullptr;
    std::vector<void *> pictures(kGraphs + 2);
    REQUIRE(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking) == cudaSuccess);
    REQUIRE(cudaMallocHost(&host, kBytes) == cudaSuccess);
    for (void *&picture : pictures) {
        REQUIRE(cudaMalloc(&picture, kBytes) == cudaSuccess);
    }
    auto *pixels = static_cast<std::uint8_t *>(host);
    const auto is_launched = [&](std::size_t number) {  // as a graph, from picture 0 to picture `number`
        std::fill_n(pixels, kBytes, std::uint8_t(number));
        cudaMemcpyAsync(pictures[0], host, kBytes, cudaMemcpyHostToDevice, stream);
        const int before = host_gpu::launched_graphs();
        CHECK(nstopt_enqueue(engine, &kSmall, pictures[0], pictures[number], stream) == NSTOPT_OK);
        cudaMemcpyAsync(host, pictures[number], kBytes, cudaMemcpyDeviceToHost, stream);
        cudaStreamSynchronize(stream);
        CHECK(std::all_of(pixels, pixels + kBytes, [&](int value) { return value == 255 - int(number); }));
        return host_gpu::launched_graphs() > before;
    };
    for (int round = 0; round < 4; ++round) {  // double buffering
        CHECK(is_launched(1) == (round >= 2));
        CHECK(is_launched(2) == (round >= 2));
    }
    for (std::size_t number = 3; number <= kGraphs; ++number) {
        CHECK_FALSE(is_launched(number));
    }
    CHECK(is_launched(1));
    CHECK_FALSE(is_launched(kGraphs + 1));  // instead of 2
    CHECK(is_launched(1));
    CHECK_FALSE(is_launched(2));
    nstopt_free(engine);
    for (void *picture : pictures) {
        cudaFree(picture);
    }
    cudaFreeHost(host);
    cudaStreamDestroy(stream);
    cudaSetDevice(0);
    check_clean();
}

TEST_CASE("an engine on a second GPU outlives the first engine") {
    nstopt_engine *first = load("plan-any.nst", 0), *second = load("plan-sizes.nst", 1);
    REQUIRE(first);
    REQUIRE(second);
    use(first, false);
    use(second, false);
    nstopt_free(first);
    for (int call = 1; call < 30; ++call) {  // TensorRT still logs to the first logger
        host_gpu::fail_call(call);
        use(second, true);
    }
    host_gpu::fail_call(0);
    cudaSetDevice(0);
    nstopt_free(second);
    check_clean();
}

TEST_CASE("unusable plans are refused") {
    CHECK(load("plan-damaged.nst") == nullptr);
    CHECK(message_has("TensorRT 8.5 cannot load"));
    CHECK(message_has("version tag does not match; deserialization failed (a plan runs with"));
    CHECK(load("plan-float.nst") == nullptr);
    CHECK(message_has("the plan's tensor stylized is not uint8, or not its only input or output"));
    CHECK(load("plan-any.nst", 5) == nullptr);
    CHECK(message_has("it needs NVIDIA GPU number 5, and this machine shows 2"));
    Picture picture(kSmall);
    for (const auto &[bundle, status, text] : std::vector<std::tuple<std::string, nstopt_status, std::string>>{
             {"plan-larger.nst", NSTOPT_BAD_DEVICE, "the plan's output has another size than its input"},
             {"plan-one.nst", NSTOPT_BAD_SIZE, "the plan takes no pictures of (batch x height x width) 1 x 16x16"}}) {
        nstopt_engine *engine = load(bundle);
        REQUIRE(engine);
        CHECK(picture.stylize(engine) == status);
        CHECK(message_has(text));
        CHECK(picture.submit(engine) == status);
        CHECK(picture.job == nullptr);
        nstopt_free(engine);
    }
    check_clean();
}
