// What a backend is: one function that opens a bundle, in a file of its own, and one line in engine.cpp.
#pragma once

#include <memory>

#include "bundle.hpp"
#include "pictures.hpp"

namespace nstopt {

// What one run needs for itself: it does one at a time. Requests of the same model may be in flight together.
class Request {
public:
    virtual ~Request() = default;

    // Begins to stylize pictures that fit the engine. Their memory stays as it is until `wait` has returned.
    virtual void start(const Work &work) = 0;

    // Returns when the result is written. Throws Error if the device failed; the request is not used again then.
    virtual void wait() = 0;

    // Both at once, for backends that have a cheaper way to do so.
    virtual void run(const Work &work) {
        start(work);
        wait();
    }
};

// A compiled engine. Its methods may be called from any thread.
class Model {
public:
    virtual ~Model() = default;

    virtual std::unique_ptr<Request> make_request() = 0;  // which must not outlive the model
};

// Throw Error: NSTOPT_BAD_BUNDLE if a file is not listed, NSTOPT_BAD_DEVICE if the device is missing or refuses it.
std::unique_ptr<Model> load_openvino(const Bundle &bundle, const nstopt_options &options);
std::unique_ptr<Model> load_tensorrt(const Bundle &bundle, const nstopt_options &options);

}  // namespace nstopt
