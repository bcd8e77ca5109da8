// Stylizes raw RGB frames from stdin to stdout:  nstopt-frames BUNDLE HEIGHTxWIDTH [JOBS]
//
// Frames are uint8 RGB without gaps, as `ffmpeg -f rawvideo -pix_fmt rgb24` writes and reads them. While the engine works
// on up to JOBS frames (default 3), the next one is read and the one before them written.
#include <cstdio>
#include <cstdlib>
#include <nstopt.hpp>
#include <optional>
#include <stdexcept>
#include <vector>

namespace {

// A frame, its result, and the request that computes one from the other. The request goes first: it writes to the result.
struct Slot {
    std::vector<std::uint8_t> image;
    std::vector<std::uint8_t> stylized;
    std::optional<nstopt::InferRequest> request;
};

// Waits for a slot's request, if there is one, and writes its result.
void write_result(Slot &slot) {
    if (!slot.request) {
        return;
    }
    slot.request->wait();
    slot.request.reset();
    if (std::fwrite(slot.stylized.data(), 1, slot.stylized.size(), stdout) != slot.stylized.size()) {
        throw std::runtime_error("the output cannot be written");
    }
}

void stylize(const char *bundle, nstopt_shape shape, int jobs) {
    nstopt_options options = nstopt::default_options();
    options.max_jobs = jobs;
    nstopt::Engine engine(bundle, options);
    const std::size_t bytes = std::size_t(shape.height) * std::size_t(shape.width) * 3;
    std::vector<Slot> ring(std::size_t(jobs) + 1);  // one more, so that a frame is read while all jobs are in flight
    for (Slot &slot : ring) {
        slot.image.resize(bytes);
        slot.stylized.resize(bytes);
    }
    std::size_t next = 0;
    std::size_t read = 0;
    while ((read = std::fread(ring[next].image.data(), 1, bytes, stdin)) == bytes) {
        write_result(ring[(next + 1) % ring.size()]);  // the oldest: now a job is free
        Slot &slot = ring[next];
        slot.request.emplace(engine.submit(shape, slot.image.data(), slot.stylized.data()));
        next = (next + 1) % ring.size();
    }
    for (std::size_t age = 0; age < ring.size(); ++age) {
        write_result(ring[(next + age) % ring.size()]);
    }
    if (read != 0) {
        throw std::runtime_error("the input ends within a frame: is the size right?");
    }
}

}  // namespace

int main(int count, char **arguments) {
    nstopt_shape shape{1, 0, 0};
    const int jobs = count == 4 ? std::atoi(arguments[3]) : 3;
    if (count < 3 || count > 4 || std::sscanf(arguments[2], "%dx%d", &shape.height, &shape.width) != 2 ||
        shape.height < 1 || shape.width < 1 || jobs < 1) {
        std::fprintf(stderr, "usage: nstopt-frames BUNDLE HEIGHTxWIDTH [JOBS] < frames > stylized\n");
        return 2;
    }
    try {
        stylize(arguments[1], shape, jobs);
        if (std::fflush(stdout) != 0) {
            throw std::runtime_error("the output cannot be written");
        }
    } catch (const std::exception &error) {
        std::fprintf(stderr, "error: %s\n", error.what());
        return 1;
    }
    return 0;
}
