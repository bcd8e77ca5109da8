// A test double of CUDA and TensorRT in host memory, with two GPUs. Streams are threads, GPU memory is host memory, and
// plans invert pictures. Whatever the vendors' documentation forbids aborts the process with a message.
#pragma once

#include <cstddef>
#include <functional>

#include "cuda_runtime_api.h"

namespace host_gpu {

// Interface for the tests.

constexpr int kCount = 2;

// Makes the `call`th call from now fail, counting all calls of the process that can fail; 0: none. `has_failed` returns
// true once it has.
void fail_call(int call);
bool has_failed();

// Makes the next run of a net fail on the GPU, after it was queued.
void fail_run();

// Number of objects that were made and not freed.
int alive();

// The version of TensorRT, such as 8503 for 8.5.3; 8601 at first.
void set_version(int version);

// Number of CUDA graphs that were launched.
int launched_graphs();

// The GPU that is current in the calling thread.
int current_gpu();

// Interface for the parts of the double.

bool is_failing();      // true if this call must fail
bool is_run_failing();  // true if this run must fail
void count_alive(int more);

// Return the result of a CUDA function; a failure is also kept for cudaGetLastError. `done` is for functions that free
// or wait, which they do even if they fail.
cudaError_t report(cudaError_t error);
cudaError_t done();

// Aborts with a message unless `condition` holds.
void demand(bool condition, const char *what);

// Demands that an object's GPU is current, unless an injected failure may have prevented that.
void demand_current(int gpu);

// Demands that `memory` holds so many bytes of a GPU's memory, or of page-locked memory if `is_host`.
void demand_memory(const void *memory, std::size_t bytes, int gpu, bool is_host = false);

// Appends `work` to a stream. Its return value is the error of the work.
void put(cudaStream_t stream, std::function<cudaError_t()> work);
int gpu_of(cudaStream_t stream);

// Returns true while the work that is put into a stream is only captured.
bool is_capturing(cudaStream_t stream);

}  // namespace host_gpu
