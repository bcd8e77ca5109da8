// Helpers for CUDA's runtime: error checks, the current GPU, and owners of streams, events and memory.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "error.hpp"

namespace nstopt::detail {

// Returns and clears CUDA's last error in this thread, empty if there was none. It must not stay: the program that uses
// this library would find it at its own next check.
inline std::string take_cuda_error() {
    const cudaError_t error = cudaGetLastError();
    return error == cudaSuccess ? "" : std::string(cudaGetErrorName(error)) + ": " + cudaGetErrorString(error);
}

inline void check(cudaError_t error, const char *doing) {
    if (error != cudaSuccess) {
        cudaGetLastError();
        throw Error(NSTOPT_BAD_DEVICE, std::string("CUDA cannot ") + doing + ": " + cudaGetErrorName(error) + ": " +
                                           cudaGetErrorString(error));
    }
}

// Drops the error of a cleanup call, where a failure changes nothing.
inline void ignore(cudaError_t error) {
    if (error != cudaSuccess) {
        cudaGetLastError();
    }
}

// Makes a GPU current in this thread for a scope, and restores the previous one. Call `require` before work on the GPU:
// if the switch failed, another GPU would do the work.
class OnGpu {
public:
    explicit OnGpu(int gpu) : error_(cudaGetDevice(&before_)) {
        if (error_ == cudaSuccess) {
            error_ = cudaSetDevice(gpu);  // even if it is the same: no context may be current yet
            is_changed_ = error_ == cudaSuccess && before_ != gpu;
        }
        ignore(error_);
    }
    ~OnGpu() {
        if (is_changed_) {
            ignore(cudaSetDevice(before_));
        }
    }
    OnGpu(const OnGpu &) = delete;
    OnGpu &operator=(const OnGpu &) = delete;

    void require() const { check(error_, "use the GPU"); }

private:
    int before_ = 0;
    bool is_changed_ = false;
    cudaError_t error_;
};

// Deleters of objects that belong to a GPU. They run in any thread, whatever GPU is current there.
template <auto Free>
struct FreeOnGpu {
    int gpu = 0;

    template <class T>
    void operator()(T *thing) const {
        const OnGpu on(gpu);
        ignore(Free(thing));
    }
};

struct DeleteOnGpu {
    int gpu = 0;

    template <class T>
    void operator()(T *thing) const {
        const OnGpu on(gpu);
        delete thing;
    }
};

using Stream = std::unique_ptr<CUstream_st, FreeOnGpu<cudaStreamDestroy>>;
using Event = std::unique_ptr<CUevent_st, FreeOnGpu<cudaEventDestroy>>;
using Graph = std::unique_ptr<CUgraphExec_st, FreeOnGpu<cudaGraphExecDestroy>>;

// Make a stream or an event on `gpu`, which must be current.
inline Stream make_stream(int gpu) {
    cudaStream_t stream = nullptr;
    check(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "make a stream");
    return Stream(stream, {gpu});
}

inline Event make_event(int gpu) {
    cudaEvent_t event = nullptr;
    check(cudaEventCreateWithFlags(&event, cudaEventDisableTiming | cudaEventBlockingSync), "make an event");
    return Event(event, {gpu});
}

// A buffer that grows to the largest size requested.
template <auto Allocate, auto Free>
class Buffer {
public:
    explicit Buffer(int gpu) : memory_(nullptr, {gpu}) {}

    // Returns memory of at least so many bytes. Its contents are lost when it grows.
    std::uint8_t *hold(std::size_t bytes) {
        if (bytes > size_) {
            memory_.reset();
            size_ = 0;
            void *fresh = nullptr;
            check(Allocate(&fresh, bytes), "allocate memory for pictures");
            memory_.reset(static_cast<std::uint8_t *>(fresh));
            size_ = bytes;
        }
        return memory_.get();
    }
    std::uint8_t *get() const { return memory_.get(); }

private:
    std::unique_ptr<std::uint8_t, FreeOnGpu<Free>> memory_;
    std::size_t size_ = 0;
};

// Page-locked memory: copies to or from pageable memory would not be asynchronous.
using HostBuffer = Buffer<cudaMallocHost, cudaFreeHost>;
using GpuBuffer = Buffer<cudaMalloc, cudaFree>;

}  // namespace nstopt::detail
