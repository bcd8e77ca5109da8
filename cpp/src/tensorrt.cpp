// The TensorRT backend. The bundle holds engine.plan. It uses only what versions 8.5 to 11 have in common: tensors by
// name, and enqueueV3.
#include <optional>
#include <string>

#include "backend.hpp"
#include "cuda.hpp"
#include "error.hpp"
#include "lane.hpp"
#include "plan.hpp"

namespace nstopt::detail {
namespace {

class TensorRTRequest : public Request {
public:
    explicit TensorRTRequest(Plan &plan)
        : gpu_(plan.gpu), from_(gpu_), to_(gpu_), image_(gpu_), stylized_(gpu_) {
        const OnGpu on(gpu_);
        on.require();
        lane_.emplace(plan);
        arrived_ = make_event(gpu_);
        done_ = make_event(gpu_);
    }

    // Waits, since the GPU may still use the buffers if `wait` was not called.
    ~TensorRTRequest() override {
        const OnGpu on(gpu_);
        lane_.reset();
    }

    TensorRTRequest(const TensorRTRequest &) = delete;
    TensorRTRequest &operator=(const TensorRTRequest &) = delete;

    void start(const Task &task) override {
        const OnGpu on(gpu_);
        on.require();
        target_ = task.stylized;
        pack(task.image, from_.hold(task.image.shape.bytes()));
        or_reset([&] { put(task.image.shape); });
    }

    void wait() override {
        const OnGpu on(gpu_);
        on.require();
        check(cudaEventSynchronize(done_.get()), "finish the run");
        unpack(to_.get(), target_);
    }

    void enqueue(const GpuTask &task) override {
        const OnGpu on(gpu_);
        on.require();
        const auto theirs = static_cast<cudaStream_t>(task.stream);
        or_reset([&] {
            check(cudaEventRecord(arrived_.get(), theirs), "record an event in the stream that was given");
            check(cudaStreamWaitEvent(lane_->stream(), arrived_.get(), 0), "wait for a stream");
            lane_->run(task.shape, const_cast<std::uint8_t *>(task.image), task.stylized);
            check(cudaEventRecord(done_.get(), lane_->stream()), "record an event");
            check(cudaStreamWaitEvent(theirs, done_.get(), 0), "wait for the run");
        });
    }

private:
    void put(const Shape &shape) {
        const std::size_t bytes = shape.bytes();
        std::uint8_t *image = image_.hold(bytes), *stylized = stylized_.hold(bytes), *to = to_.hold(bytes);
        check(cudaMemcpyAsync(image, from_.get(), bytes, cudaMemcpyHostToDevice, lane_->stream()),
              "copy pictures to the GPU");
        lane_->run(shape, image, stylized);
        check(cudaMemcpyAsync(to, stylized, bytes, cudaMemcpyDeviceToHost, lane_->stream()),
              "copy pictures from the GPU");
        check(cudaEventRecord(done_.get(), lane_->stream()), "record an event");
    }

    // Part of a run that failed may be under way: after an error, no work is left in the stream.
    template <class Work>
    void or_reset(Work &&work) {
        try {
            work();
        } catch (...) {
            lane_->reset();
            throw;
        }
    }

    const int gpu_;
    HostBuffer from_, to_;
    GpuBuffer image_, stylized_;
    Event arrived_, done_;
    std::optional<Lane> lane_;
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
