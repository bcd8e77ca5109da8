// A TensorRT plan, loaded: puts runs on its GPU.
#pragma once

#include <NvInfer.h>

#include <memory>
#include <mutex>
#include <string>

#include "bundle.hpp"
#include "cuda.hpp"

namespace nstopt {

// One run: where its pictures are on the host and on the GPU, and what tells that it is over.
struct Run {
    Shape shape;
    const std::uint8_t *from;
    std::uint8_t *image;
    std::uint8_t *stylized;
    std::uint8_t *to;
    cudaEvent_t done;
};

// One context and one stream, so that runs queue up on the GPU, and more of them need no further activation memory. It
// must outlive its runs.
class Plan {
public:
    // Throws Error (NSTOPT_BAD_DEVICE). `name` is for its message.
    Plan(const Bytes &bytes, const std::string &name, int gpu);
    Plan(const Plan &) = delete;
    Plan &operator=(const Plan &) = delete;

    // Queues a run, from any thread, whose own GPU is the plan's. Throws Error; nothing uses the run's memory then.
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
    void queue(const Run &run);

    // Deleted from the last to the first, as they must be.
    Owned<nvinfer1::IRuntime> runtime_;
    Owned<nvinfer1::ICudaEngine> engine_;
    Stream stream_;
    Owned<nvinfer1::IExecutionContext> context_;  // none after a failure
    nvinfer1::Dims prepared_{};                   // what the context is set to
    std::string image_;                           // names of the plan's tensors
    std::string stylized_;
    bool is_dynamic_ = false;
    std::mutex enqueuing_;
};

}  // namespace nstopt
