// nstopt.hpp: nstopt.h with owners and exceptions. Header only, C++17; the rules are those of nstopt.h.
#pragma once

#include <cstdint>
#include <memory>
#include <stdexcept>
#include <utility>

#include "nstopt.h"

namespace nstopt {

// A call failed: status() says in which way, what() says why.
class Exception : public std::runtime_error {
public:
    explicit Exception(nstopt_status status) : std::runtime_error(nstopt_last_error()), status_(status) {}
    nstopt_status status() const noexcept { return status_; }

private:
    nstopt_status status_;
};

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

// Pictures in flight. The destructor waits for those that nobody waited for.
class Pending {
public:
    explicit Pending(nstopt_job *job) : job_(job) {}
    void wait() { check(nstopt_wait(job_.release())); }

private:
    struct Wait {
        void operator()(nstopt_job *job) const { nstopt_wait(job); }
    };
    std::unique_ptr<nstopt_job, Wait> job_;
};

// A loaded engine. Strides may be left out where there are no gaps.
class Net {
public:
    explicit Net(const char *bundle) : Net(bundle, default_options()) {}
    Net(const char *bundle, const nstopt_options &options) {
        nstopt_engine *engine = nullptr;
        check(nstopt_load(bundle, &options, &engine));
        engine_.reset(engine);
    }

    nstopt_shape shape() const {
        nstopt_shape shape;
        check(nstopt_engine_shape(engine_.get(), &shape));
        return shape;
    }
    const char *backend() const { return nstopt_engine_backend(engine_.get()); }

    void stylize(nstopt_shape shape, const std::uint8_t *image, std::uint8_t *stylized,
                 nstopt_strides image_strides = {}, nstopt_strides stylized_strides = {}) {
        check(nstopt_stylize(engine_.get(), &shape, image, &image_strides, stylized, &stylized_strides));
    }
    [[nodiscard]] Pending submit(nstopt_shape shape, const std::uint8_t *image, std::uint8_t *stylized,
                                 nstopt_strides image_strides = {}, nstopt_strides stylized_strides = {}) {
        nstopt_job *job = nullptr;
        check(nstopt_submit(engine_.get(), &shape, image, &image_strides, stylized, &stylized_strides, &job));
        return Pending(job);
    }

private:
    struct Free {
        void operator()(nstopt_engine *engine) const { nstopt_free(engine); }
    };
    std::unique_ptr<nstopt_engine, Free> engine_;
};

}  // namespace nstopt
