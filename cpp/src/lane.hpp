// A lane: what one request needs at a time to run a plan. Lanes run side by side: copies of one overlap with the net of
// another.
#pragma once

#include <cstdint>
#include <vector>

#include "plan.hpp"

namespace nstopt::detail {

class Lane {
public:
    // The plan's GPU must be current, here and in every call.
    explicit Lane(Plan &plan) : plan_(plan), stream_(make_stream(plan.gpu)) {}
    ~Lane() { reset(); }
    Lane(const Lane &) = delete;
    Lane &operator=(const Lane &) = delete;

    // Puts a run of the net into the lane's stream. `image` and `stylized` are memory of the GPU. The addresses in a
    // CUDA graph are fixed: a pair of them gets a graph of its own when it comes for the second time. Throws Error.
    void run(const Shape &shape, std::uint8_t *image, std::uint8_t *stylized);

    // Waits, and drops the context and its graphs, which may be in any state after an error. Another run makes new ones.
    void reset();

    cudaStream_t stream() const { return stream_.get(); }

private:
    // Addresses that the net has run at, and its graph there; null if there is none.
    struct Pair {
        std::uint8_t *image, *stylized;
        Graph graph;
    };

    Pair *find(const std::uint8_t *image, const std::uint8_t *stylized);
    Pair &add(std::uint8_t *image, std::uint8_t *stylized);
    void enqueue(const Pair &pair);
    void capture(Pair &pair);

    Plan &plan_;
    Stream stream_;
    Prepared prepared_;
    Shape shape_{};
    std::vector<Pair> pairs_;  // of this shape, the last used one at the end
    bool can_capture_ = true;
};

}  // namespace nstopt::detail
