// A loaded TensorRT plan, which enqueues runs on its GPU.
#pragma once

#include <NvInfer.h>

#include <memory>
#include <mutex>
#include <string>

#include "bundle.hpp"
#include "cuda.hpp"
#include "pictures.hpp"

namespace nstopt::detail {

// One run: its buffers on the host and on the GPU, and the event that is recorded at its end.
struct Run {
    Shape shape;
    const std::uint8_t *from;  // host
    std::uint8_t *image;       // GPU
    std::uint8_t *stylized;    // GPU
    std::uint8_t *to;          // host
    cudaEvent_t done;
};

// All runs share one execution context and one stream: they queue on the GPU, and more of them need no more activation
// memory. The plan must outlive its runs.
class Plan {
public:
    // Throws Error (NSTOPT_BAD_DEVICE), whose message calls the plan `name`.
    Plan(const Bytes &bytes, const std::string &name, int gpu);
    Plan(const Plan &) = delete;
    Plan &operator=(const Plan &) = delete;

    // Enqueues a run. Any thread may call it; the plan's GPU must be current there. Throws Error, and then no work on
    // the run's memory is left in the stream.
    void enqueue(const Run &run);

    const int gpu;

private:
    template <class T>
    using Owned = std::unique_ptr<T, DeleteOnGpu>;

    void load(const Bytes &bytes, const std::string &name);
    void find_tensors();
    void make_context();
    int profile_for(const nvinfer1::Dims &dims) const;
    void prepare(const nvinfer1::Dims &dims, int profile);
    void issue(const Run &run);

    // TensorRT requires this order: members are destroyed from the last to the first.
    Owned<nvinfer1::IRuntime> runtime_;
    Owned<nvinfer1::ICudaEngine> engine_;
    Stream stream_;
    Owned<nvinfer1::IExecutionContext> context_;  // null after a failure
    nvinfer1::Dims prepared_{};                   // shape that the context is set to
    std::string image_;                           // names of the plan's tensors
    std::string stylized_;
    bool is_dynamic_ = false;
    std::mutex enqueuing_;
};

}  // namespace nstopt::detail
