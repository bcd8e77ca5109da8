#include "plan.hpp"

#include <algorithm>
#include <cstdio>
#include <cstring>

#include "error.hpp"

namespace nstopt::detail {
namespace {

// Errors that TensorRT logged in this thread. Its functions return no reason: they log it, in the calling thread. The
// first messages say most, so a long text is cut at its end.
thread_local char logged[1024] = "";

class Logger : public nvinfer1::ILogger {
public:
    void log(Severity severity, const char *message) noexcept override {
        if (severity <= Severity::kERROR) {
            const std::size_t used = std::strlen(logged);
            std::snprintf(logged + used, sizeof logged - used, "%s%s", used ? "; " : "", message);
        }
    }
};

// Returns the logger of all plans. It is never destroyed: TensorRT keeps the first logger that it was given and uses
// it for other plans too.
Logger &logger() {
    static Logger &only = *new Logger;
    return only;
}

[[noreturn]] void fail(const std::string &what) { throw Error(NSTOPT_BAD_DEVICE, what); }

// Throws the error of a TensorRT call, with what TensorRT logged since `logged` was last cleared.
[[noreturn]] void fail_with_reason(const std::string &what, const std::string &hint = "") {
    const std::string cuda = take_cuda_error();
    const std::string reason = *logged ? logged : "TensorRT gives no reason";
    fail(what + ": " + reason + (cuda.empty() ? "" : "; " + cuda) + hint);
}

nvinfer1::Dims dims_of(const Shape &shape) {
    nvinfer1::Dims dims{};
    dims.nbDims = 4;
    dims.d[0] = shape.batch;
    dims.d[1] = shape.height;
    dims.d[2] = shape.width;
    dims.d[3] = kChannels;
    return dims;
}

bool is_between(const nvinfer1::Dims &low, const nvinfer1::Dims &dims, const nvinfer1::Dims &high) {
    bool fits = low.nbDims == dims.nbDims && high.nbDims == dims.nbDims;
    for (int index = 0; fits && index < dims.nbDims; ++index) {
        fits = low.d[index] <= dims.d[index] && dims.d[index] <= high.d[index];
    }
    return fits;
}

}  // namespace

Plan::Plan(const Bytes &bytes, const std::string &name, int number)
    : gpu(number), runtime_(nullptr, {number}), engine_(nullptr, {number}), context_(nullptr, {number}) {
    const OnGpu on(gpu);
    on.require();
    *logged = '\0';
    load(bytes, name);
    find_tensors();
    stream_ = make_stream(gpu);
    make_context();
}

void Plan::load(const Bytes &bytes, const std::string &name) {
    runtime_.reset(nvinfer1::createInferRuntime(logger()));
    if (runtime_) {
        engine_.reset(runtime_->deserializeCudaEngine(bytes.data(), bytes.size()));
    }
    if (!engine_) {
        fail_with_reason("TensorRT " + std::to_string(NV_TENSORRT_MAJOR) + "." + std::to_string(NV_TENSORRT_MINOR) +
                             " cannot load " + name,
                         " (a plan runs with the TensorRT version and on the kind of GPU that it was built with)");
    }
}

void Plan::find_tensors() {
    for (int index = 0; index < engine_->getNbIOTensors(); ++index) {
        const char *name = engine_->getIOTensorName(index);
        const bool is_input = engine_->getTensorIOMode(name) == nvinfer1::TensorIOMode::kINPUT;
        std::string &slot = is_input ? image_ : stylized_;
        if (!slot.empty() || engine_->getTensorDataType(name) != nvinfer1::DataType::kUINT8) {
            fail(std::string("the plan's tensor ") + name + " is not uint8, or not its only input or output");
        }
        slot = name;
    }
    if (image_.empty() || stylized_.empty()) {
        fail("the plan has no input, or no output");
    }
    const nvinfer1::Dims dims = engine_->getTensorShape(image_.c_str());
    is_dynamic_ = std::any_of(dims.d, dims.d + std::max(dims.nbDims, 0), [](auto side) { return side < 0; });
}

void Plan::make_context() {
    prepared_ = {};
    context_.reset(engine_->createExecutionContext());
    if (!context_) {
        fail_with_reason("TensorRT cannot create an execution context");
    }
}

// Returns the optimization profile that takes pictures of this shape, -1 if none does. A plan for several sizes has at
// least one profile for each.
int Plan::profile_for(const nvinfer1::Dims &dims) const {
    using Selector = nvinfer1::OptProfileSelector;
    const char *name = image_.c_str();
    if (!is_dynamic_) {
        const nvinfer1::Dims only = engine_->getTensorShape(name);
        return is_between(only, dims, only) ? 0 : -1;
    }
    for (int profile = 0; profile < engine_->getNbOptimizationProfiles(); ++profile) {
        if (is_between(engine_->getProfileShape(name, profile, Selector::kMIN), dims,
                       engine_->getProfileShape(name, profile, Selector::kMAX))) {
            return profile;
        }
    }
    return -1;
}

void Plan::prepare(const nvinfer1::Dims &dims, int profile) {
    if (!context_) {
        make_context();
    }
    if (is_between(prepared_, dims, prepared_)) {
        return;
    }
    // In TensorRT 8.5 only an engine's first context starts with a profile, which is profile 0.
    if (is_dynamic_ && context_->getOptimizationProfile() != profile &&
        !context_->setOptimizationProfileAsync(profile, stream_.get())) {
        fail_with_reason("TensorRT refuses the plan's profile " + std::to_string(profile));
    }
    if (!context_->setInputShape(image_.c_str(), dims)) {
        fail_with_reason("TensorRT refuses the size of the pictures");
    }
    const nvinfer1::Dims made = context_->getTensorShape(stylized_.c_str());
    if (!is_between(made, dims, made)) {  // the buffers would be too small
        fail("the plan's output has another size than its input");
    }
    prepared_ = dims;
}

void Plan::issue(const Run &run) {
    const std::size_t bytes = run.shape.bytes();
    check(cudaMemcpyAsync(run.image, run.from, bytes, cudaMemcpyHostToDevice, stream_.get()),
          "copy pictures to the GPU");
    if (!context_->setTensorAddress(image_.c_str(), run.image) ||
        !context_->setTensorAddress(stylized_.c_str(), run.stylized) || !context_->enqueueV3(stream_.get())) {
        fail_with_reason("TensorRT cannot run the plan");
    }
    check(cudaMemcpyAsync(run.to, run.stylized, bytes, cudaMemcpyDeviceToHost, stream_.get()),
          "copy pictures from the GPU");
    check(cudaEventRecord(run.done, stream_.get()), "record an event");
}

void Plan::enqueue(const Run &run) {
    const nvinfer1::Dims dims = dims_of(run.shape);
    const std::lock_guard<std::mutex> lock(enqueuing_);
    const int profile = profile_for(dims);
    if (profile < 0) {
        throw Error(NSTOPT_BAD_SIZE, "the plan takes no pictures of (batch x height x width) " + to_string(run.shape));
    }
    *logged = '\0';
    try {
        prepare(dims, profile);
        issue(run);
    } catch (...) {
        // Part of the run may be under way. The context may be in any state, so it is not used again.
        ignore(cudaStreamSynchronize(stream_.get()));
        context_.reset();
        throw;
    }
}

}  // namespace nstopt::detail
