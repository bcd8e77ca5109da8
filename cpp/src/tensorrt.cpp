// TensorRT: the bundle holds engine.plan. Only what 8.5 to 11 have in common is used: tensors by name, enqueueV3.
//
// All requests of an engine share one context and one stream, so that jobs in flight queue up on the GPU and cost
// no further activation memory; each request has its own buffers, page-locked on the host's side, because a copy to
// other memory would wait for the GPU.
#include <NvInfer.h>
#include <cuda_runtime_api.h>

#include <mutex>
#include <string>

#include "backend.hpp"
#include "error.hpp"

namespace nstopt {
namespace {

[[noreturn]] void fail(const std::string &what) { throw Error(NSTOPT_BAD_DEVICE, what); }

void check(cudaError_t error, const char *doing) {
    if (error != cudaSuccess) {
        fail(std::string("CUDA cannot ") + doing + ": " + cudaGetErrorString(error));
    }
}

// Keeps the last error, since TensorRT's functions return no reason.
class Logger : public nvinfer1::ILogger {
public:
    void log(Severity severity, const char *message) noexcept override {
        if (severity <= Severity::kERROR) {
            const std::lock_guard<std::mutex> lock(mutex_);
            try {
                reason_ = message;
            } catch (...) {  // no memory for the reason
                reason_.clear();
            }
        }
    }

    std::string reason() {
        const std::lock_guard<std::mutex> lock(mutex_);
        return reason_.empty() ? "TensorRT gives no reason" : reason_;
    }

private:
    std::mutex mutex_;
    std::string reason_;
};

// Makes a GPU this thread's own for a block, and leaves the thread as it was. If that fails, so does what comes next.
class OnGpu {
public:
    explicit OnGpu(int gpu) {
        cudaGetDevice(&before_);
        cudaSetDevice(gpu);
    }
    ~OnGpu() { cudaSetDevice(before_); }
    OnGpu(const OnGpu &) = delete;
    OnGpu &operator=(const OnGpu &) = delete;

private:
    int before_ = 0;
};

// Memory that grows when more is asked for. Pinned: the host's, page-locked; else the GPU's.
template <bool Pinned>
class Buffer {
public:
    Buffer() = default;
    Buffer(const Buffer &) = delete;
    Buffer &operator=(const Buffer &) = delete;
    ~Buffer() { release(); }

    std::uint8_t *hold(std::size_t bytes) {
        if (bytes > size_) {
            release();
            void *fresh = nullptr;
            check(Pinned ? cudaMallocHost(&fresh, bytes) : cudaMalloc(&fresh, bytes), "allocate memory for pictures");
            pixels_ = static_cast<std::uint8_t *>(fresh);
            size_ = bytes;
        }
        return pixels_;
    }
    std::uint8_t *pixels() const { return pixels_; }

private:
    void release() {
        Pinned ? cudaFreeHost(pixels_) : cudaFree(pixels_);
        pixels_ = nullptr;
        size_ = 0;
    }

    std::uint8_t *pixels_ = nullptr;
    std::size_t size_ = 0;
};

class TensorRTModel : public Model {
public:
    TensorRTModel(const Bundle &bundle, int gpu);
    ~TensorRTModel() override;
    TensorRTModel(const TensorRTModel &) = delete;
    TensorRTModel &operator=(const TensorRTModel &) = delete;

    std::unique_ptr<Request> make_request() override;

    // Puts a run between two copies on the stream, and `done` after them.
    void enqueue(const Shape &shape, const std::uint8_t *from, std::uint8_t *image, std::uint8_t *stylized,
                 std::uint8_t *to, cudaEvent_t done);

    const int gpu;

private:
    void find_tensors();
    bool set_shape(const Shape &shape);

    Logger logger_;
    std::unique_ptr<nvinfer1::IRuntime> runtime_;
    std::unique_ptr<nvinfer1::ICudaEngine> engine_;
    std::unique_ptr<nvinfer1::IExecutionContext> context_;
    cudaStream_t stream_ = nullptr;
    std::mutex enqueuing_;
    std::string image_;     // names of the plan's tensors
    std::string stylized_;
};

class TensorRTRequest : public Request {
public:
    explicit TensorRTRequest(TensorRTModel &model) : model_(model) {
        const OnGpu on(model_.gpu);
        check(cudaEventCreateWithFlags(&done_, cudaEventDisableTiming | cudaEventBlockingSync), "make an event");
    }

    ~TensorRTRequest() override {
        const OnGpu on(model_.gpu);
        cudaEventSynchronize(done_);  // the GPU may still write to the buffers, where `wait` was not reached
        cudaEventDestroy(done_);
    }

    TensorRTRequest(const TensorRTRequest &) = delete;
    TensorRTRequest &operator=(const TensorRTRequest &) = delete;

    void start(const Work &work) override {
        const OnGpu on(model_.gpu);
        const Shape &shape = work.image.shape;
        target_ = work.stylized;
        pack(work.image, from_.hold(shape.bytes()));
        model_.enqueue(shape, from_.pixels(), image_.hold(shape.bytes()), stylized_.hold(shape.bytes()),
                       to_.hold(shape.bytes()), done_);
    }

    void wait() override {
        const OnGpu on(model_.gpu);
        check(cudaEventSynchronize(done_), "finish the run");
        unpack(to_.pixels(), target_);
    }

private:
    TensorRTModel &model_;
    cudaEvent_t done_ = nullptr;
    Buffer<true> from_, to_;
    Buffer<false> image_, stylized_;
    Target target_{};
};

// Counted before TensorRT is touched: its runtime crashes the process where there is no GPU.
void require_gpu(const Bundle &bundle, int gpu) {
    int count = 0;
    const cudaError_t error = cudaGetDeviceCount(&count);
    if (error != cudaSuccess || count <= gpu) {
        fail("cannot load " + bundle.folder.string() + " with TensorRT: it needs NVIDIA GPU number " +
             std::to_string(gpu) + ", and this machine shows " + std::to_string(error == cudaSuccess ? count : 0) +
             (error == cudaSuccess ? "" : std::string(" (") + cudaGetErrorString(error) + ")"));
    }
}

TensorRTModel::TensorRTModel(const Bundle &bundle, int gpu_number) : gpu(gpu_number) {
    const Bytes &plan = bundle.file("engine.plan");
    require_gpu(bundle, gpu);
    const OnGpu on(gpu);
    runtime_.reset(nvinfer1::createInferRuntime(logger_));
    if (runtime_) {
        engine_.reset(runtime_->deserializeCudaEngine(plan.data(), plan.size()));
    }
    if (engine_) {
        context_.reset(engine_->createExecutionContext());
    }
    if (!context_) {
        fail("TensorRT " + std::to_string(NV_TENSORRT_MAJOR) + "." + std::to_string(NV_TENSORRT_MINOR) +
             " cannot load " + bundle.folder.string() + ": " + logger_.reason() +
             " (a plan runs with the TensorRT version and on the kind of GPU that it was built with)");
    }
    find_tensors();
    check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "make a stream");
}

TensorRTModel::~TensorRTModel() {
    const OnGpu on(gpu);
    context_.reset();
    engine_.reset();
    if (stream_) {
        cudaStreamDestroy(stream_);
    }
}

void TensorRTModel::find_tensors() {
    for (int index = 0; index < engine_->getNbIOTensors(); ++index) {
        const char *name = engine_->getIOTensorName(index);
        const bool is_input = engine_->getTensorIOMode(name) == nvinfer1::TensorIOMode::kINPUT;
        std::string &slot = is_input ? image_ : stylized_;
        if (!slot.empty() || engine_->getTensorDataType(name) != nvinfer1::DataType::kUINT8) {
            fail(std::string("the plan's tensor ") + name + " is not the one uint8 picture in or out");
        }
        slot = name;
    }
    if (image_.empty() || stylized_.empty()) {
        fail("the plan has no picture in, or none out");
    }
}

// A plan for several sizes has an optimisation profile for each.
bool TensorRTModel::set_shape(const Shape &shape) {
    nvinfer1::Dims dims{};
    dims.nbDims = 4;
    dims.d[0] = shape.batch;
    dims.d[1] = shape.height;
    dims.d[2] = shape.width;
    dims.d[3] = kChannels;
    const auto takes = [&](int profile) {
        using Selector = nvinfer1::OptProfileSelector;
        const nvinfer1::Dims low = engine_->getProfileShape(image_.c_str(), profile, Selector::kMIN);
        const nvinfer1::Dims high = engine_->getProfileShape(image_.c_str(), profile, Selector::kMAX);
        bool fits = low.nbDims == dims.nbDims && high.nbDims == dims.nbDims;
        for (int index = 0; fits && index < dims.nbDims; ++index) {
            fits = low.d[index] <= dims.d[index] && dims.d[index] <= high.d[index];
        }
        return fits;
    };
    const int profiles = engine_->getNbOptimizationProfiles();
    for (int profile = 0; profiles > 1 && profile < profiles; ++profile) {
        if (takes(profile) && (profile == context_->getOptimizationProfile() ||
                               context_->setOptimizationProfileAsync(profile, stream_))) {
            break;
        }
    }
    return context_->setInputShape(image_.c_str(), dims);
}

std::unique_ptr<Request> TensorRTModel::make_request() { return std::make_unique<TensorRTRequest>(*this); }

void TensorRTModel::enqueue(const Shape &shape, const std::uint8_t *from, std::uint8_t *image, std::uint8_t *stylized,
                            std::uint8_t *to, cudaEvent_t done) {
    const std::lock_guard<std::mutex> lock(enqueuing_);
    if (!set_shape(shape)) {
        throw Error(NSTOPT_BAD_SIZE, "the plan takes no " + std::to_string(shape.batch) + "x" +
                                         std::to_string(shape.height) + "x" + std::to_string(shape.width) +
                                         " pictures: " + logger_.reason());
    }
    check(cudaMemcpyAsync(image, from, shape.bytes(), cudaMemcpyHostToDevice, stream_), "copy pictures to the GPU");
    const bool is_bound = context_->setTensorAddress(image_.c_str(), image) &&
                          context_->setTensorAddress(stylized_.c_str(), stylized);
    if (!is_bound || !context_->enqueueV3(stream_)) {
        cudaStreamSynchronize(stream_);
        fail("TensorRT cannot run the plan: " + logger_.reason());
    }
    check(cudaMemcpyAsync(to, stylized, shape.bytes(), cudaMemcpyDeviceToHost, stream_), "copy pictures from the GPU");
    check(cudaEventRecord(done, stream_), "record an event");
}

}  // namespace

std::unique_ptr<Model> load_tensorrt(const Bundle &bundle, const nstopt_options &options) {
    return std::make_unique<TensorRTModel>(bundle, options.gpu);
}

}  // namespace nstopt
