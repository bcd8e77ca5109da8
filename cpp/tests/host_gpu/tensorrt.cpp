// The double of TensorRT. A plan is text: KIND, then the least and the greatest BATCH HEIGHT WIDTH of each profile.
// KIND is "static" (one profile, least = greatest) or "dynamic"; "float" and "larger" have an unusable output, of
// another type or another size.
#include <NvInfer.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <memory>
#include <mutex>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "host_gpu.hpp"

namespace {

using host_gpu::demand;
using nvinfer1::Dims;

// TensorRT keeps the first logger as long as any runtime exists.
std::mutex logger_mutex;
nvinfer1::ILogger *first_logger = nullptr;
int runtimes = 0;

bool refuse(const char *why) {
    const std::lock_guard<std::mutex> lock(logger_mutex);
    first_logger->log(nvinfer1::ILogger::Severity::kERROR, why);
    return false;
}

std::atomic<int> version{8601};

struct Profile {
    Dims low, high;
};

bool is_input(const char *name) { return std::string(name) == "image"; }

std::size_t bytes_of(const Dims &dims) {
    std::size_t bytes = 1;
    for (int index = 0; index < dims.nbDims; ++index) {
        bytes *= std::size_t(dims.d[index]);
    }
    return bytes;
}

// Counts an object, and demands that it is destroyed on the GPU on which it was made.
class Counted {
protected:
    Counted() { host_gpu::count_alive(1); }
    ~Counted() {
        host_gpu::demand_current(gpu);
        host_gpu::count_alive(-1);
    }
    const int gpu = host_gpu::current_gpu();
};

class Engine : public nvinfer1::ICudaEngine, Counted {
public:
    Engine(std::string kind, std::vector<Profile> profiles) : kind(std::move(kind)), profiles(std::move(profiles)) {}
    ~Engine() override { demand(contexts == 0, "an engine deleted before its contexts"); }

    std::int32_t getNbIOTensors() const noexcept override { return 2; }
    const char *getIOTensorName(std::int32_t index) const noexcept override { return index ? "stylized" : "image"; }
    nvinfer1::TensorIOMode getTensorIOMode(const char *name) const noexcept override {
        return is_input(name) ? nvinfer1::TensorIOMode::kINPUT : nvinfer1::TensorIOMode::kOUTPUT;
    }
    nvinfer1::DataType getTensorDataType(const char *name) const noexcept override {
        const bool is_float = kind == "float" && !is_input(name);
        return is_float ? nvinfer1::DataType::kFLOAT : nvinfer1::DataType::kUINT8;
    }
    Dims getTensorShape(const char *) const noexcept override {
        return is_static() ? profiles[0].low : Dims{4, {-1, -1, -1, 3}};
    }
    std::int32_t getNbOptimizationProfiles() const noexcept override { return std::int32_t(profiles.size()); }
    Dims getProfileShape(const char *, std::int32_t index, nvinfer1::OptProfileSelector which) const noexcept override {
        demand(!is_static(), "a profile asked of a plan that has none");
        const Profile &profile = profiles.at(std::size_t(index));
        return which == nvinfer1::OptProfileSelector::kMIN ? profile.low : profile.high;
    }
    nvinfer1::IExecutionContext *createExecutionContext() noexcept override;

    bool is_static() const { return kind == "static"; }

    const std::string kind;
    const std::vector<Profile> profiles;
    std::multiset<int> taken;  // profiles in use: before 8.6, no two contexts may share one
    int contexts = 0, contexts_ever = 0;
};

class Context : public nvinfer1::IExecutionContext, Counted {
public:
    explicit Context(Engine &engine) : engine_(engine) {
        ++engine.contexts;
        if (++engine.contexts_ever == 1 || engine.is_static()) {
            take(0);
        }
    }
    ~Context() override {
        demand(running_ == 0, "a context deleted while it runs");
        --engine_.contexts;
        leave();
    }

    std::int32_t getOptimizationProfile() const noexcept override { return profile_; }

    bool setOptimizationProfileAsync(std::int32_t profile, cudaStream_t) noexcept override {
        if (!is_usable() || (version < 8600 && engine_.taken.count(profile))) {
            return refuse("the profile is refused");
        }
        leave();
        take(profile);
        return true;
    }

    bool setInputShape(const char *name, const Dims &dims) noexcept override {
        if (!is_usable() || !is_input(name) || profile_ < 0 || !fits(dims)) {
            return refuse("the shape is refused");
        }
        dims_ = dims;
        return true;
    }

    Dims getTensorShape(const char *name) const noexcept override {
        Dims dims = dims_;
        dims.d[1] += engine_.kind == "larger" && !is_input(name);
        return dims;
    }

    bool setTensorAddress(const char *name, void *memory) noexcept override {
        if (!is_usable()) {
            return refuse("the address is refused");
        }
        (is_input(name) ? image_ : stylized_) = static_cast<std::uint8_t *>(memory);
        return true;
    }

    bool enqueueV3(cudaStream_t stream) noexcept override {
        host_gpu::demand_current(gpu);
        if (!is_usable() || dims_.nbDims != 4 || !image_ || !stylized_ || host_gpu::gpu_of(stream) != gpu) {
            return refuse("the run is refused");
        }
        const int counted = !host_gpu::is_capturing(stream);
        running_ += counted;
        host_gpu::put(stream, [this, counted, from = image_, to = stylized_, bytes = bytes_of(dims_)] {
            invert(from, to, bytes);
            running_ -= counted;
            return host_gpu::is_run_failing() ? cudaErrorLaunchFailure : cudaSuccess;
        });
        return true;
    }

private:
    // Returns false from the first failure on.
    bool is_usable() { return is_whole_ = is_whole_ && !host_gpu::is_failing(); }

    bool fits(const Dims &dims) const {
        const Profile &profile = engine_.profiles[std::size_t(profile_)];
        bool fits = dims.nbDims == 4;
        for (int index = 0; fits && index < 4; ++index) {
            fits = profile.low.d[index] <= dims.d[index] && dims.d[index] <= profile.high.d[index];
        }
        return fits;
    }

    void leave() {
        if (profile_ >= 0) {
            engine_.taken.erase(engine_.taken.find(profile_));
        }
    }

    void take(int profile) {
        engine_.taken.insert(profile);
        profile_ = profile;
        dims_ = engine_.is_static() ? engine_.profiles[0].low : Dims{};
    }

    // Works in the context's activation memory, so that two runs at once would be noticed.
    void invert(const std::uint8_t *from, std::uint8_t *to, std::size_t bytes) {
        host_gpu::demand_memory(from, bytes, gpu);
        host_gpu::demand_memory(to, bytes, gpu);
        activations_.assign(from, from + bytes);
        std::transform(activations_.begin(), activations_.end(), to,
                       [](auto byte) { return std::uint8_t(255 - byte); });
    }

    Engine &engine_;
    int profile_ = -1;
    Dims dims_{};
    std::uint8_t *image_ = nullptr, *stylized_ = nullptr;
    bool is_whole_ = true;
    std::vector<std::uint8_t> activations_;
    std::atomic<int> running_{0};
};

nvinfer1::IExecutionContext *Engine::createExecutionContext() noexcept {
    if (host_gpu::is_failing()) {
        refuse("no memory for a context");
        return nullptr;
    }
    return new Context(*this);
}

class Runtime : public nvinfer1::IRuntime, Counted {
public:
    explicit Runtime(nvinfer1::ILogger &logger) {
        const std::lock_guard<std::mutex> lock(logger_mutex);
        first_logger = runtimes++ ? first_logger : &logger;
    }
    ~Runtime() override {
        const std::lock_guard<std::mutex> lock(logger_mutex);
        --runtimes;
    }

    nvinfer1::ICudaEngine *deserializeCudaEngine(const void *plan, std::size_t bytes) noexcept override {
        std::istringstream text(std::string(static_cast<const char *>(plan), bytes));
        std::string kind;
        text >> kind;
        std::vector<Profile> profiles;
        for (Profile one{{4, {0, 0, 0, 3}}, {4, {0, 0, 0, 3}}};
             text >> one.low.d[0] >> one.low.d[1] >> one.low.d[2] >> one.high.d[0] >> one.high.d[1] >> one.high.d[2];) {
            profiles.push_back(one);
        }
        if (host_gpu::is_failing() || profiles.empty()) {
            refuse("version tag does not match");
            refuse("deserialization failed");
            return nullptr;
        }
        return new Engine(kind, profiles);
    }
};

}  // namespace

void host_gpu::set_version(int asked) { version = asked; }

std::int32_t getInferLibVersion() noexcept { return version; }

nvinfer1::IRuntime *nvinfer1::createInferRuntime(ILogger &logger) noexcept {
    return host_gpu::is_failing() ? nullptr : new Runtime(logger);
}
