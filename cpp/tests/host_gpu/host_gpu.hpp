// Two GPUs that are not there: CUDA and TensorRT on the host. Streams are threads, device memory is the host's, a plan
// inverts pictures. What the vendors' documentation forbids ends the process with a sentence.
#pragma once

#include <cstddef>
#include <functional>

#include "cuda_runtime_api.h"

namespace host_gpu {

// For tests.

constexpr int kCount = 2;

// Lets the `call`th call from now on fail, of all calls in the process that can; 0: none.
void fail_call(int call);
bool has_failed();

// Lets the next run of a net fail on the GPU, after it was queued.
void fail_run();

// How many things were made and not given back.
int alive();

// The calling thread's.
int own_gpu();

// For the parts of the double.

bool is_failing();      // whether this call is to fail
bool is_run_failing();  // whether this run is to
void count_alive(int more);

// What a function of CUDA's returns; a failure is also kept for cudaGetLastError. `done` is for functions that give
// back or wait: they do so even if they fail.
cudaError_t report(cudaError_t error);
cudaError_t done();

void demand(bool condition, const char *what);
// That a thing's GPU is the thread's own, unless the failure may be why it is not.
void demand_own(int gpu);
// That these are so many bytes of a GPU's own memory, or of the host memory that it can copy.
void demand_memory(const void *memory, std::size_t bytes, int gpu, bool is_host = false);

// Appends to a stream. `work` says how it went.
void put(cudaStream_t stream, std::function<cudaError_t()> work);
int gpu_of(cudaStream_t stream);

}  // namespace host_gpu
