// CUDA's runtime, the little of it that the TensorRT backend needs: which GPU is meant, and owners of what CUDA gives.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "error.hpp"

namespace nstopt {

// What CUDA said of the last failure of this thread, empty if there was none. CUDA keeps it and gives it to whoever asks
// next, which must not be the program that uses us: afterwards it is forgotten.
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

// For what is done on the way out, where a failure changes nothing.
inline void ignore(cudaError_t error) {
    if (error != cudaSuccess) {
        cudaGetLastError();
    }
}

// Makes a GPU this thread's own for a block, and leaves the thread as it was. Whoever goes on to work on the GPU must
// `require` it: another GPU would do the work otherwise.
class OnGpu {
public:
    explicit OnGpu(int gpu) : error_(cudaGetDevice(&before_)) {
        if (error_ == cudaSuccess) {
            error_ = cudaSetDevice(gpu);  // also where it is the same: nothing may be current yet
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

// Deleters of what belongs to a GPU, for the thread that happens to be the last.
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

// Both on the thread's own GPU, which is `gpu`.
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

// Memory that grows when more is asked for.
template <auto Allocate, auto Free>
class Buffer {
public:
    explicit Buffer(int gpu) : memory_(nullptr, {gpu}) {}

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

// Page-locked: a copy to or from other memory would wait for the GPU.
using HostBuffer = Buffer<cudaMallocHost, cudaFreeHost>;
using GpuBuffer = Buffer<cudaMalloc, cudaFree>;

}  // namespace nstopt
