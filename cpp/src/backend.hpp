// The interface of a backend. To add one, write its load function in a file of its own, and call it in engine.cpp.
#pragma once

#include <memory>

#include "bundle.hpp"
#include "error.hpp"
#include "pictures.hpp"

namespace nstopt::detail {

// The state of one run. A request does one run at a time; several requests of a model may be in flight together.
class Request {
public:
    virtual ~Request() = default;

    // Begins to stylize pictures that fit the engine. Their memory must stay valid until `wait` has returned.
    virtual void start(const Task &task) = 0;

    // Returns when the result is written. Throws Error if the device failed; the request must not be used again then.
    virtual void wait() = 0;

    // Does both, for backends that have a cheaper way to run synchronously.
    virtual void run(const Task &task) {
        start(task);
        wait();
    }

    // Puts a run between what the task's stream holds and what comes into it later, and returns at once.
    virtual void enqueue(const GpuTask &) {
        throw Error(NSTOPT_BAD_DEVICE, "this engine computes on the CPU: only engines of TensorRT take GPU memory");
    }
};

// A compiled engine. Its methods may be called from any thread.
class Model {
public:
    virtual ~Model() = default;

    // Makes a request, which must not outlive the model.
    virtual std::unique_ptr<Request> make_request() = 0;
};

// Load functions. Throw Error: NSTOPT_BAD_BUNDLE if the manifest lacks a file, NSTOPT_BAD_DEVICE if the device is
// missing or refuses the engine.
std::unique_ptr<Model> load_openvino(const Bundle &bundle, const nstopt_options &options);
std::unique_ptr<Model> load_tensorrt(const Bundle &bundle, const nstopt_options &options);

}  // namespace nstopt::detail
