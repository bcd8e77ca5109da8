#include "lane.hpp"

#include "tensorrt_log.hpp"

namespace nstopt::detail {

void Lane::run(const Shape &shape, std::uint8_t *image, std::uint8_t *stylized) {
    *logged = '\0';
    const bool is_same_shape = prepared_.dims.nbDims && shape == shape_;
    const bool is_repeated = is_same_shape && image == image_ && stylized == stylized_;
    if (is_repeated && graph_) {
        check(cudaGraphLaunch(graph_.get(), stream_.get()), "launch a CUDA graph");
        return;
    }
    graph_.reset();
    if (!is_same_shape) {
        plan_.prepare(prepared_, shape, stream_.get());
        shape_ = shape;
    }
    image_ = image;
    stylized_ = stylized;
    enqueue();
    if (is_repeated && can_capture_) {  // TensorRT has finished its preparations in the run before
        capture();
    }
}

void Lane::enqueue() {
    nvinfer1::IExecutionContext &context = *prepared_.context;
    if (!context.setTensorAddress(plan_.image().c_str(), image_) ||
        !context.setTensorAddress(plan_.stylized().c_str(), stylized_) || !context.enqueueV3(stream_.get())) {
        fail_with_reason("TensorRT cannot run the plan");
    }
}

// Where the net cannot be captured, it runs without a graph.
void Lane::capture() {
    cudaGraph_t captured = nullptr;
    bool is_enqueued = true;
    if (cudaStreamBeginCapture(stream_.get(), cudaStreamCaptureModeThreadLocal) == cudaSuccess) {
        is_enqueued = prepared_.context->enqueueV3(stream_.get());
        const bool is_whole = cudaStreamEndCapture(stream_.get(), &captured) == cudaSuccess && is_enqueued;
        cudaGraphExec_t graph = nullptr;
        if (is_whole && cudaGraphInstantiateWithFlags(&graph, captured, 0) == cudaSuccess) {
            graph_.reset(graph);
        }
    }
    if (captured) {
        ignore(cudaGraphDestroy(captured));
    }
    can_capture_ = graph_ != nullptr;
    take_cuda_error();
    if (!is_enqueued) {
        reset();
    }
}

void Lane::reset() {
    ignore(cudaStreamSynchronize(stream_.get()));
    graph_.reset();
    plan_.release(prepared_);
}

}  // namespace nstopt::detail
