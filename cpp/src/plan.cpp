#include "plan.hpp"

#include <algorithm>

#include "tensorrt_log.hpp"

namespace nstopt::detail {
namespace {

// The first version in which several contexts may use one optimization profile at a time: 8.6.
constexpr int kSharesProfiles = 8600;

class Logger : public nvinfer1::ILogger {
public:
    void log(Severity severity, const char *message) noexcept override {
        if (severity <= Severity::kERROR) {
            const std::size_t used = std::strlen(logged);
            std::snprintf(logged + used, sizeof logged - used, "%s%s", used ? "; " : "", message);
        }
    }
};

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

nvinfer1::ILogger &logger() {
    static Logger &only = *new Logger;
    return only;
}

Plan::Plan(const Bytes &bytes, const std::string &name, int number)
    : gpu(number), runtime_(nullptr, {number}), engine_(nullptr, {number}) {
    const OnGpu on(gpu);
    on.require();
    *logged = '\0';
    load(bytes, name);
    find_tensors();
    users_.resize(std::size_t(std::max(1, engine_->getNbOptimizationProfiles())));
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

bool Plan::takes(int profile, const nvinfer1::Dims &dims) const {
    using Selector = nvinfer1::OptProfileSelector;
    const char *name = image_.c_str();
    if (!is_dynamic_) {
        const nvinfer1::Dims only = engine_->getTensorShape(name);
        return is_between(only, dims, only);
    }
    return is_between(engine_->getProfileShape(name, profile, Selector::kMIN), dims,
                      engine_->getProfileShape(name, profile, Selector::kMAX));
}

// Returns an optimization profile that takes pictures of this shape, preferably the one that is `held`. A plan for
// several sizes has at least one profile for each.
int Plan::free_profile(const nvinfer1::Dims &dims, int held, const Shape &shape) const {
    if (held >= 0 && takes(held, dims)) {
        return held;
    }
    const bool is_shared = !is_dynamic_ || getInferLibVersion() >= kSharesProfiles;
    bool is_known = false;
    for (int profile = 0; profile < int(users_.size()); ++profile) {
        const bool fits = takes(profile, dims);
        if (fits && (is_shared || users_[std::size_t(profile)] == 0)) {
            return profile;
        }
        is_known = is_known || fits;
    }
    if (is_known) {
        throw Error(NSTOPT_BUSY,
                    "all profiles of the plan for this size are in use: wait for a job, or load the engine with a "
                    "smaller max_jobs (TensorRT 8.5 runs three requests of a size at a time)");
    }
    throw Error(NSTOPT_BAD_SIZE, "the plan takes no pictures of (batch x height x width) " + to_string(shape));
}

void Plan::prepare(Prepared &prepared, const Shape &shape, cudaStream_t stream) {
    const nvinfer1::Dims dims = dims_of(shape);
    const std::lock_guard<std::mutex> lock(preparing_);
    const int profile = free_profile(dims, prepared.profile, shape);
    prepared.dims = {};
    if (!prepared.context) {
        prepared.context = Context(engine_->createExecutionContext(), {gpu});
        if (!prepared.context) {
            fail_with_reason("TensorRT cannot create an execution context");
        }
    }
    if (prepared.profile != profile) {
        // In TensorRT 8.5 only an engine's first context starts with a profile, which is profile 0.
        if (is_dynamic_ && prepared.context->getOptimizationProfile() != profile &&
            !prepared.context->setOptimizationProfileAsync(profile, stream)) {
            fail_with_reason("TensorRT refuses the plan's profile " + std::to_string(profile));
        }
        if (prepared.profile >= 0) {
            --users_[std::size_t(prepared.profile)];
        }
        prepared.profile = profile;
        ++users_[std::size_t(profile)];
    }
    if (!prepared.context->setInputShape(image_.c_str(), dims)) {
        fail_with_reason("TensorRT refuses the size of the pictures");
    }
    const nvinfer1::Dims made = prepared.context->getTensorShape(stylized_.c_str());
    if (!is_between(made, dims, made)) {  // the buffers would be too small
        fail("the plan's output has another size than its input");
    }
    prepared.dims = dims;
}

void Plan::release(Prepared &prepared) {
    const std::lock_guard<std::mutex> lock(preparing_);
    prepared.context.reset();
    if (prepared.profile >= 0) {
        --users_[std::size_t(prepared.profile)];
    }
    prepared = {};
}

}  // namespace nstopt::detail
