// A lane: what one request needs at a time to run a plan. Lanes run side by side: copies of one overlap with the net of
// another.
#pragma once

#include <cstdint>

#include "plan.hpp"

namespace nstopt::detail {

class Lane {
public:
    // The plan's GPU must be current, here and in every call.
    explicit Lane(Plan &plan) : plan_(plan), stream_(make_stream(plan.gpu)), graph_(nullptr, {plan.gpu}) {}
    ~Lane() { reset(); }
    Lane(const Lane &) = delete;
    Lane &operator=(const Lane &) = delete;

    // Puts a run of the net into the lane's stream. `image` and `stylized` are memory of the GPU. A run at the same
    // addresses as the last two becomes a CUDA graph. Throws Error.
    void run(const Shape &shape, std::uint8_t *image, std::uint8_t *stylized);

    // Waits, and drops the context and the graph, which may be in any state after an error. Another run makes new ones.
    void reset();

    cudaStream_t stream() const { return stream_.get(); }

private:
    void enqueue();
    void capture();

    Plan &plan_;
    Stream stream_;
    Prepared prepared_;
    Shape shape_{};
    std::uint8_t *image_ = nullptr, *stylized_ = nullptr;  // addresses of the last run
    Graph graph_;                                          // of the net at these addresses; null if there is none
    bool can_capture_ = true;
};

}  // namespace nstopt::detail
