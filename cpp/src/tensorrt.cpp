// The TensorRT backend. The bundle holds engine.plan. It uses only what versions 8.5 to 11 have in common: tensors by
// name, and enqueueV3.
#include <string>

#include "backend.hpp"
#include "cuda.hpp"
#include "error.hpp"
#include "plan.hpp"

namespace nstopt::detail {
namespace {

class TensorRTRequest : public Request {
public:
    explicit TensorRTRequest(Plan &plan)
        : plan_(plan), from_(plan.gpu), to_(plan.gpu), image_(plan.gpu), stylized_(plan.gpu) {
        const OnGpu on(plan_.gpu);
        on.require();
        done_ = make_event(plan_.gpu);
    }

    // Waits, since the GPU may still use the buffers if `wait` was not called.
    ~TensorRTRequest() override {
        const OnGpu on(plan_.gpu);
        ignore(cudaEventSynchronize(done_.get()));
    }

    TensorRTRequest(const TensorRTRequest &) = delete;
    TensorRTRequest &operator=(const TensorRTRequest &) = delete;

    void start(const Task &task) override {
        const OnGpu on(plan_.gpu);
        on.require();
        const Shape &shape = task.image.shape;
        const std::size_t bytes = shape.bytes();
        target_ = task.stylized;
        pack(task.image, from_.hold(bytes));
        plan_.enqueue({shape, from_.get(), image_.hold(bytes), stylized_.hold(bytes), to_.hold(bytes), done_.get()});
    }

    void wait() override {
        const OnGpu on(plan_.gpu);
        on.require();
        check(cudaEventSynchronize(done_.get()), "finish the run");
        unpack(to_.get(), target_);
    }

private:
    Plan &plan_;
    HostBuffer from_, to_;
    GpuBuffer image_, stylized_;
    Event done_;
    Target target_{};
};

class TensorRTModel : public Model {
public:
    TensorRTModel(const Bytes &plan, const std::string &name, int gpu) : plan_(plan, name, gpu) {}

    std::unique_ptr<Request> make_request() override { return std::make_unique<TensorRTRequest>(plan_); }

private:
    Plan plan_;
};

// Throws Error if there is no such GPU. Call it before any TensorRT function: without a GPU, TensorRT's runtime crashes
// the process.
void require_gpu(const std::string &name, int gpu) {
    int count = 0;
    const cudaError_t error = cudaGetDeviceCount(&count);
    if (error != cudaSuccess || count <= gpu) {
        const std::string reason = take_cuda_error();
        throw Error(NSTOPT_BAD_DEVICE, "cannot load " + name + " with TensorRT: it needs NVIDIA GPU number " +
                                           std::to_string(gpu) + ", and this machine shows " +
                                           std::to_string(error == cudaSuccess ? count : 0) +
                                           (error == cudaSuccess ? "" : " (" + reason + ")"));
    }
}

}  // namespace

std::unique_ptr<Model> load_tensorrt(const Bundle &bundle, const nstopt_options &options) {
    const Bytes &plan = bundle.file("engine.plan");
    const std::string name = bundle.folder.string();
    require_gpu(name, options.gpu);
    return std::make_unique<TensorRTModel>(plan, name, options.gpu);
}

}  // namespace nstopt::detail
