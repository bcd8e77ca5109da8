// The part of TensorRT's API that the TensorRT backend uses, declared for the test double. Replaces NVIDIA's header in
// the tests.
#pragma once

#include <cstddef>
#include <cstdint>

#include "cuda_runtime_api.h"

#define NV_TENSORRT_MAJOR 8
#define NV_TENSORRT_MINOR 5

std::int32_t getInferLibVersion() noexcept;

namespace nvinfer1 {

struct Dims {
    std::int32_t nbDims;
    std::int64_t d[8];
};

enum class DataType { kFLOAT = 0, kUINT8 = 5 };
enum class TensorIOMode { kNONE, kINPUT, kOUTPUT };
enum class OptProfileSelector { kMIN, kOPT, kMAX };

class ILogger {
public:
    enum class Severity { kINTERNAL_ERROR, kERROR, kWARNING, kINFO, kVERBOSE };
    virtual ~ILogger() = default;
    virtual void log(Severity severity, const char *message) noexcept = 0;
};

class IExecutionContext {
public:
    virtual ~IExecutionContext() = default;
    virtual std::int32_t getOptimizationProfile() const noexcept = 0;
    virtual bool setOptimizationProfileAsync(std::int32_t profile, cudaStream_t stream) noexcept = 0;
    virtual bool setInputShape(const char *name, const Dims &dims) noexcept = 0;
    virtual Dims getTensorShape(const char *name) const noexcept = 0;
    virtual bool setTensorAddress(const char *name, void *memory) noexcept = 0;
    virtual bool enqueueV3(cudaStream_t stream) noexcept = 0;
};

class ICudaEngine {
public:
    virtual ~ICudaEngine() = default;
    virtual std::int32_t getNbIOTensors() const noexcept = 0;
    virtual const char *getIOTensorName(std::int32_t index) const noexcept = 0;
    virtual TensorIOMode getTensorIOMode(const char *name) const noexcept = 0;
    virtual DataType getTensorDataType(const char *name) const noexcept = 0;
    virtual Dims getTensorShape(const char *name) const noexcept = 0;
    virtual std::int32_t getNbOptimizationProfiles() const noexcept = 0;
    virtual Dims getProfileShape(const char *name, std::int32_t profile, OptProfileSelector which) const noexcept = 0;
    virtual IExecutionContext *createExecutionContext() noexcept = 0;
};

class IRuntime {
public:
    virtual ~IRuntime() = default;
    virtual ICudaEngine *deserializeCudaEngine(const void *plan, std::size_t bytes) noexcept = 0;
};

IRuntime *createInferRuntime(ILogger &logger) noexcept;

}  // namespace nvinfer1
