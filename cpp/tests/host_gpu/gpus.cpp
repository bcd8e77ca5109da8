// The double of CUDA: its GPUs and errors, and the failures that tests ask for.
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <utility>

#include "host_gpu.hpp"

namespace {

std::atomic<int> until_failure{0}, things{0};
std::atomic<bool> failed{false}, run_fails{false};
thread_local int current_gpu = 0;
thread_local cudaError_t last_error = cudaSuccess;

}  // namespace

namespace host_gpu {

void fail_call(int call) {
    failed = false;
    until_failure = call;
}

bool is_failing() {
    const bool is_now = until_failure > 0 && --until_failure == 0;
    if (is_now) {
        failed = true;
    }
    return is_now;
}

bool has_failed() { return failed; }
void fail_run() { run_fails = true; }
bool is_run_failing() { return run_fails.exchange(false); }
int alive() { return things; }
void count_alive(int more) { things += more; }
int own_gpu() { return current_gpu; }

cudaError_t report(cudaError_t error) {
    if (error != cudaSuccess) {
        last_error = error;
    }
    return error;
}

cudaError_t done() { return report(is_failing() ? cudaErrorLaunchFailure : cudaSuccess); }

void demand(bool condition, const char *what) {
    if (!condition) {
        std::fprintf(stderr, "host_gpu: %s\n", what);
        std::abort();
    }
}

void demand_own(int gpu) { demand(failed || gpu == current_gpu, "used on another GPU than its own"); }

}  // namespace host_gpu

cudaError_t cudaGetLastError() { return std::exchange(last_error, cudaSuccess); }

const char *cudaGetErrorName(cudaError_t error) {
    return error == cudaErrorMemoryAllocation ? "cudaErrorMemoryAllocation" : "cudaErrorLaunchFailure";
}

const char *cudaGetErrorString(cudaError_t error) {
    return error == cudaErrorMemoryAllocation ? "out of memory" : "unspecified launch failure";
}

cudaError_t cudaGetDeviceCount(int *count) {
    *count = host_gpu::kCount;
    return host_gpu::done();
}

cudaError_t cudaGetDevice(int *gpu) {
    *gpu = current_gpu;
    return host_gpu::done();
}

cudaError_t cudaSetDevice(int gpu) {
    host_gpu::demand(0 <= gpu && gpu < host_gpu::kCount, "no such GPU");
    const cudaError_t error = host_gpu::done();
    current_gpu = error == cudaSuccess ? gpu : current_gpu;
    return error;
}
