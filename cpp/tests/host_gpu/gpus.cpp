// The double of CUDA: GPUs, errors, and the failures that tests inject.
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <utility>

#include "host_gpu.hpp"

namespace {

std::atomic<int> until_failure{0}, objects{0};
std::atomic<bool> failed{false}, run_fails{false};
thread_local int current = 0;
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
int alive() { return objects; }
void count_alive(int more) { objects += more; }
int current_gpu() { return current; }

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

void demand_current(int gpu) { demand(failed || gpu == current, "an object used while another GPU is current"); }

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
    *gpu = current;
    return host_gpu::done();
}

cudaError_t cudaSetDevice(int gpu) {
    host_gpu::demand(0 <= gpu && gpu < host_gpu::kCount, "no such GPU");
    const cudaError_t error = host_gpu::done();
    current = error == cudaSuccess ? gpu : current;
    return error;
}
