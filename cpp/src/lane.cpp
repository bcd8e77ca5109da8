#include "lane.hpp"

#include <algorithm>

#include "tensorrt_log.hpp"

namespace nstopt::detail {
namespace {

// Pairs of addresses that a lane keeps a CUDA graph for.
constexpr std::size_t kMaxPairs = 8;

}  // namespace

void Lane::run(const Shape &shape, std::uint8_t *image, std::uint8_t *stylized) {
    *logged = '\0';
    if (!prepared_.dims.nbDims || !(shape == shape_)) {
        pairs_.clear();
        plan_.prepare(prepared_, shape, stream_.get());
        shape_ = shape;
    }
    Pair *known = find(image, stylized);
    if (known && known->graph) {
        check(cudaGraphLaunch(known->graph.get(), stream_.get()), "launch a CUDA graph");
        return;
    }
    Pair &pair = known ? *known : add(image, stylized);
    enqueue(pair);
    if (known && can_capture_) {  // TensorRT has finished its preparations in the run before
        capture(pair);
    }
}

// Returns the pair of these addresses, now the last used one; null if there is none.
Lane::Pair *Lane::find(const std::uint8_t *image, const std::uint8_t *stylized) {
    const auto found = std::find_if(pairs_.begin(), pairs_.end(), [&](const Pair &pair) {
        return pair.image == image && pair.stylized == stylized;
    });
    if (found == pairs_.end()) {
        return nullptr;
    }
    std::rotate(found, found + 1, pairs_.end());
    return &pairs_.back();
}

Lane::Pair &Lane::add(std::uint8_t *image, std::uint8_t *stylized) {
    if (pairs_.size() == kMaxPairs) {
        pairs_.erase(pairs_.begin());
    }
    return pairs_.emplace_back(Pair{image, stylized, Graph(nullptr, {plan_.gpu})});
}

void Lane::enqueue(const Pair &pair) {
    nvinfer1::IExecutionContext &context = *prepared_.context;
    if (!context.setTensorAddress(plan_.image().c_str(), pair.image) ||
        !context.setTensorAddress(plan_.stylized().c_str(), pair.stylized) || !context.enqueueV3(stream_.get())) {
        fail_with_reason("TensorRT cannot run the plan");
    }
}

// Where the net cannot be captured, it runs without a graph.
void Lane::capture(Pair &pair) {
    cudaGraph_t captured = nullptr;
    bool is_enqueued = true;
    if (cudaStreamBeginCapture(stream_.get(), cudaStreamCaptureModeThreadLocal) == cudaSuccess) {
        is_enqueued = prepared_.context->enqueueV3(stream_.get());
        const bool is_whole = cudaStreamEndCapture(stream_.get(), &captured) == cudaSuccess && is_enqueued;
        cudaGraphExec_t graph = nullptr;
        if (is_whole && cudaGraphInstantiateWithFlags(&graph, captured, 0) == cudaSuccess) {
            pair.graph.reset(graph);
        }
    }
    if (captured) {
        ignore(cudaGraphDestroy(captured));
    }
    can_capture_ = pair.graph != nullptr;
    take_cuda_error();
    if (!is_enqueued) {
        reset();
    }
}

void Lane::reset() {
    ignore(cudaStreamSynchronize(stream_.get()));
    pairs_.clear();
    plan_.release(prepared_);
}

}  // namespace nstopt::detail
