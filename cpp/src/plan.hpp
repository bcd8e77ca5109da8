// A loaded TensorRT plan, shared by the lanes that run it.
#pragma once

#include <NvInfer.h>

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "bundle.hpp"
#include "cuda.hpp"
#include "pictures.hpp"

namespace nstopt::detail {

using Context = std::unique_ptr<nvinfer1::IExecutionContext, DeleteOnGpu>;

// An execution context with an optimization profile that takes pictures of one shape.
struct Prepared {
    Context context;
    int profile = -1;
    nvinfer1::Dims dims{};
};

// The plan must outlive its lanes. Any thread may call it; the plan's GPU must be current there.
class Plan {
public:
    // Throws Error (NSTOPT_BAD_DEVICE), whose message calls the plan `name`.
    Plan(const Bytes &bytes, const std::string &name, int gpu);
    Plan(const Plan &) = delete;
    Plan &operator=(const Plan &) = delete;

    // Sets a context to pictures of `shape`, and makes it if there is none. Throws Error: NSTOPT_BAD_SIZE if the plan
    // takes no such pictures, NSTOPT_BUSY if all profiles for them are in use, which can be before TensorRT 8.6.
    void prepare(Prepared &prepared, const Shape &shape, cudaStream_t stream);

    // Destroys a context, and frees its profile for others.
    void release(Prepared &prepared);

    const std::string &image() const { return image_; }
    const std::string &stylized() const { return stylized_; }

    const int gpu;

private:
    void load(const Bytes &bytes, const std::string &name);
    void find_tensors();
    bool takes(int profile, const nvinfer1::Dims &dims) const;
    int free_profile(const nvinfer1::Dims &dims, int held, const Shape &shape) const;

    // TensorRT requires this order: members are destroyed from the last to the first.
    std::unique_ptr<nvinfer1::IRuntime, DeleteOnGpu> runtime_;
    std::unique_ptr<nvinfer1::ICudaEngine, DeleteOnGpu> engine_;
    std::string image_;  // names of the plan's tensors
    std::string stylized_;
    bool is_dynamic_ = false;
    std::mutex preparing_;
    std::vector<int> users_;  // contexts that use each profile
};

}  // namespace nstopt::detail
