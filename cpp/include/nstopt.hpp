// nstopt.hpp: C++ classes over nstopt.h, with owners and exceptions. Header only, C++17. The rules of nstopt.h apply.
#pragma once

#include <cstdint>
#include <memory>
#include <stdexcept>

#include "nstopt.h"

namespace nstopt {

// Thrown when a call fails: status() is its kind, what() the message.
class Exception : public std::runtime_error {
public:
    explicit Exception(nstopt_status status) : std::runtime_error(nstopt_last_error()), status_(status) {}
    nstopt_status status() const noexcept { return status_; }

private:
    nstopt_status status_;
};

// Throws Exception unless `status` is NSTOPT_OK. Call it in the thread that got the status.
inline void check(nstopt_status status) {
    if (status != NSTOPT_OK) {
        throw Exception(status);
    }
}

inline nstopt_options default_options() {
    nstopt_options options;
    check(nstopt_options_init(&options, sizeof options));
    return options;
}

// A request in flight; owns an nstopt_job. The destructor waits if `wait` was not called.
class InferRequest {
public:
    explicit InferRequest(nstopt_job *job) : job_(job) {}

    // Returns when the result is written. Throws Exception if the run failed, or if it is called again.
    void wait() { check(nstopt_wait(job_.release())); }

private:
    struct Wait {
        void operator()(nstopt_job *job) const { nstopt_wait(job); }
    };
    std::unique_ptr<nstopt_job, Wait> job_;
};

// A loaded engine. Its methods throw Exception. Omit the strides of pictures that have no gaps.
class Engine {
public:
    explicit Engine(const char *bundle) : Engine(bundle, default_options()) {}
    Engine(const char *bundle, const nstopt_options &options) {
        nstopt_engine *engine = nullptr;
        check(nstopt_load(bundle, &options, &engine));
        engine_.reset(engine);
    }

    // Returns the pictures that the engine takes, 0 where it takes any value or several sizes.
    nstopt_shape shape() const {
        nstopt_shape shape;
        check(nstopt_engine_shape(engine_.get(), &shape));
        return shape;
    }
    const char *backend() const { return nstopt_engine_backend(engine_.get()); }

    // Stylizes the pictures of `shape` at `image` into `stylized`.
    void stylize(nstopt_shape shape, const std::uint8_t *image, std::uint8_t *stylized,
                 nstopt_strides image_strides = {}, nstopt_strides stylized_strides = {}) {
        check(nstopt_stylize(engine_.get(), &shape, image, &image_strides, stylized, &stylized_strides));
    }

    // Stylizes pictures in GPU memory, in the order of a cudaStream_t. Returns at once.
    void enqueue(nstopt_shape shape, const void *image, void *stylized, void *stream) {
        check(nstopt_enqueue(engine_.get(), &shape, image, stylized, stream));
    }

    // Begins to stylize and returns at once. Both memories must stay valid until the request has been waited for.
    [[nodiscard]] InferRequest submit(nstopt_shape shape, const std::uint8_t *image, std::uint8_t *stylized,
                                      nstopt_strides image_strides = {}, nstopt_strides stylized_strides = {}) {
        nstopt_job *job = nullptr;
        check(nstopt_submit(engine_.get(), &shape, image, &image_strides, stylized, &stylized_strides, &job));
        return InferRequest(job);
    }

private:
    struct Free {
        void operator()(nstopt_engine *engine) const { nstopt_free(engine); }
    };
    std::unique_ptr<nstopt_engine, Free> engine_;
};

}  // namespace nstopt
