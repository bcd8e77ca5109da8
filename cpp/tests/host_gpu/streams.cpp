// The double of CUDA: streams, copies, events and graphs.
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "host_gpu.hpp"

using host_gpu::done;
using host_gpu::report;

using Works = std::vector<std::function<cudaError_t()>>;

struct CUgraph_st {
    const Works works;
};

struct CUgraphExec_st {
    const int gpu = host_gpu::current_gpu();
    const Works works;
};

struct CUstream_st {
    const int gpu = host_gpu::current_gpu();
    std::mutex mutex;
    std::condition_variable changed;
    std::deque<std::function<cudaError_t()>> works;  // the one under way stays at the front
    cudaError_t error = cudaSuccess;                 // of some work; cleared when it is reported
    bool is_over = false;
    std::unique_ptr<Works> captured;  // while it is captured
    std::thread thread{[this] { loop(); }};

    void loop() {
        std::unique_lock<std::mutex> lock(mutex);
        while (true) {
            changed.wait(lock, [this] { return is_over || !works.empty(); });
            if (works.empty()) {
                return;
            }
            const auto work = works.front();
            lock.unlock();
            std::this_thread::sleep_for(std::chrono::microseconds(100));  // so that callers run ahead of the GPU
            const cudaError_t result = work();
            lock.lock();
            error = result == cudaSuccess ? error : result;
            works.pop_front();
            changed.notify_all();
        }
    }

    cudaError_t take_error() {
        const std::lock_guard<std::mutex> lock(mutex);
        return std::exchange(error, cudaSuccess);
    }
};

// A recorded point of a stream. The stream and a waiting thread share it, since either may outlive the other.
struct Moment {
    std::mutex mutex;
    std::condition_variable changed;
    bool is_past = false;
    cudaError_t error = cudaSuccess;
};

struct CUevent_st {
    const int gpu = host_gpu::current_gpu();
    std::shared_ptr<Moment> moment;  // null before the first record
};

void host_gpu::put(cudaStream_t stream, std::function<cudaError_t()> work) {
    const std::lock_guard<std::mutex> lock(stream->mutex);
    if (stream->captured) {
        stream->captured->push_back(std::move(work));
        return;
    }
    stream->works.push_back(std::move(work));
    stream->changed.notify_all();
}

bool host_gpu::is_capturing(cudaStream_t stream) {
    const std::lock_guard<std::mutex> lock(stream->mutex);
    return stream->captured != nullptr;
}

int host_gpu::gpu_of(cudaStream_t stream) { return stream->gpu; }

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned) {
    if (host_gpu::is_failing()) {
        return report(cudaErrorMemoryAllocation);
    }
    *stream = new CUstream_st;
    host_gpu::count_alive(1);
    return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
    std::unique_lock<std::mutex> lock(stream->mutex);
    stream->changed.wait(lock, [stream] { return stream->works.empty(); });
    const cudaError_t error = std::exchange(stream->error, cudaSuccess);
    return error == cudaSuccess ? done() : report(error);
}

cudaError_t cudaStreamDestroy(cudaStream_t stream) {
    host_gpu::demand_current(stream->gpu);
    {
        const std::lock_guard<std::mutex> lock(stream->mutex);
        stream->is_over = true;
        stream->changed.notify_all();
    }
    stream->thread.join();
    delete stream;
    host_gpu::count_alive(-1);
    return done();
}

cudaError_t cudaMemcpyAsync(void *to, const void *from, std::size_t bytes, cudaMemcpyKind kind, cudaStream_t stream) {
    if (host_gpu::is_failing()) {
        return report(cudaErrorLaunchFailure);
    }
    host_gpu::put(stream, [=] {
        host_gpu::demand_memory(from, bytes, stream->gpu, kind == cudaMemcpyHostToDevice);
        host_gpu::demand_memory(to, bytes, stream->gpu, kind == cudaMemcpyDeviceToHost);
        std::memcpy(to, from, bytes);
        return cudaSuccess;
    });
    return cudaSuccess;
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned) {
    if (host_gpu::is_failing()) {
        return report(cudaErrorMemoryAllocation);
    }
    *event = new CUevent_st;
    host_gpu::count_alive(1);
    return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
    host_gpu::demand(event->gpu == stream->gpu, "an event recorded in a stream of another GPU");
    if (host_gpu::is_failing()) {
        return report(cudaErrorLaunchFailure);
    }
    const auto moment = event->moment = std::make_shared<Moment>();
    host_gpu::put(stream, [=] {
        const cudaError_t error = stream->take_error();
        const std::lock_guard<std::mutex> lock(moment->mutex);
        moment->error = error;
        moment->is_past = true;
        moment->changed.notify_all();
        return cudaSuccess;
    });
    return cudaSuccess;
}

cudaError_t cudaEventSynchronize(cudaEvent_t event) {
    if (const auto moment = event->moment) {
        std::unique_lock<std::mutex> lock(moment->mutex);
        moment->changed.wait(lock, [&] { return moment->is_past; });
        if (moment->error != cudaSuccess) {
            return report(moment->error);
        }
    }
    return done();
}

cudaError_t cudaEventDestroy(cudaEvent_t event) {
    host_gpu::demand_current(event->gpu);
    delete event;
    host_gpu::count_alive(-1);
    return done();
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
    if (host_gpu::is_failing()) {
        return report(cudaErrorLaunchFailure);
    }
    if (const auto moment = event->moment) {
        host_gpu::put(stream, [moment] {
            std::unique_lock<std::mutex> lock(moment->mutex);
            moment->changed.wait(lock, [&] { return moment->is_past; });
            return cudaSuccess;
        });
    }
    return cudaSuccess;
}

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
    if (host_gpu::is_failing()) {
        return report(cudaErrorLaunchFailure);
    }
    const std::lock_guard<std::mutex> lock(stream->mutex);
    host_gpu::demand(!stream->captured, "a stream captured twice at a time");
    stream->captured = std::make_unique<Works>();
    return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *graph) {
    const std::lock_guard<std::mutex> lock(stream->mutex);
    const auto captured = std::move(stream->captured);
    if (host_gpu::is_failing()) {
        *graph = nullptr;
        return report(cudaErrorLaunchFailure);
    }
    *graph = new CUgraph_st{*captured};
    host_gpu::count_alive(1);
    return cudaSuccess;
}

cudaError_t cudaGraphInstantiateWithFlags(cudaGraphExec_t *graph, cudaGraph_t captured, unsigned long long) {
    if (host_gpu::is_failing()) {
        return report(cudaErrorMemoryAllocation);
    }
    *graph = new CUgraphExec_st{host_gpu::current_gpu(), captured->works};
    host_gpu::count_alive(1);
    return cudaSuccess;
}

static std::atomic<int> launched{0};
int host_gpu::launched_graphs() { return launched; }

cudaError_t cudaGraphLaunch(cudaGraphExec_t graph, cudaStream_t stream) {
    if (host_gpu::is_failing()) {
        return report(cudaErrorLaunchFailure);
    }
    host_gpu::demand(graph->gpu == stream->gpu, "a graph launched on another GPU");
    ++launched;
    for (const auto &work : graph->works) {
        host_gpu::put(stream, work);
    }
    return cudaSuccess;
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t graph) {
    host_gpu::demand_current(graph->gpu);
    delete graph;
    host_gpu::count_alive(-1);
    return done();
}

cudaError_t cudaGraphDestroy(cudaGraph_t captured) {
    delete captured;
    host_gpu::count_alive(-1);
    return done();
}
