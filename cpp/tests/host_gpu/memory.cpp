// The double of CUDA: memory.
#include <cstdlib>
#include <map>
#include <mutex>

#include "host_gpu.hpp"

using host_gpu::demand;

namespace {

struct Block {
    std::size_t bytes;
    int gpu;
    bool is_host;
};

std::mutex mutex;
std::map<const void *, Block> blocks;

cudaError_t allocate(void **memory, std::size_t bytes, bool is_host) {
    if (host_gpu::is_failing()) {
        return host_gpu::report(cudaErrorMemoryAllocation);
    }
    const std::lock_guard<std::mutex> lock(mutex);
    *memory = std::aligned_alloc(256, (bytes + 255) / 256 * 256);
    blocks[*memory] = {bytes, host_gpu::current_gpu(), is_host};
    host_gpu::count_alive(1);
    return cudaSuccess;
}

cudaError_t release(void *memory, bool is_host) {
    if (!memory) {  // CUDA allows it
        return host_gpu::done();
    }
    const std::lock_guard<std::mutex> lock(mutex);
    const auto found = blocks.find(memory);
    demand(found != blocks.end() && found->second.is_host == is_host, "memory freed by a function that does not fit");
    host_gpu::demand_current(found->second.gpu);
    blocks.erase(found);
    std::free(memory);
    host_gpu::count_alive(-1);
    return host_gpu::done();
}

}  // namespace

void host_gpu::demand_memory(const void *memory, std::size_t bytes, int gpu, bool is_host) {
    const std::lock_guard<std::mutex> lock(mutex);
    const auto found = blocks.find(memory);
    demand(found != blocks.end(), "memory used that is not allocated, or was freed");
    const Block &block = found->second;
    demand(block.bytes >= bytes && block.gpu == gpu && block.is_host == is_host, "memory too small or of another kind");
}

cudaError_t cudaMalloc(void **memory, std::size_t bytes) { return allocate(memory, bytes, false); }
cudaError_t cudaFree(void *memory) { return release(memory, false); }
cudaError_t cudaMallocHost(void **memory, std::size_t bytes) { return allocate(memory, bytes, true); }
cudaError_t cudaFreeHost(void *memory) { return release(memory, true); }
