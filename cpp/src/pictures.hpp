// Pictures in the caller's memory: uint8 RGB, [batch, height, width, 3], with any strides between rows and pictures.
#pragma once

#include <cstddef>
#include <cstdint>

#include "nstopt.h"
#include "size.hpp"

namespace nstopt::detail {

constexpr int kChannels = 3;

// Number of pictures, and the pixels of each.
struct Shape {
    int batch;
    int height;
    int width;

    Size size() const { return {height, width}; }
    std::size_t row_bytes() const { return std::size_t(width) * kChannels; }
    std::size_t bytes() const { return std::size_t(batch) * std::size_t(height) * row_bytes(); }
    bool operator==(const Shape &other) const { return batch == other.batch && size() == other.size(); }
};

inline std::string to_string(const Shape &shape) {
    return std::to_string(shape.batch) + " x " + to_string(shape.size());
}

// A batch of pictures in memory. `Byte` is const std::uint8_t if they are only read.
template <class Byte>
struct View {
    Byte *pixels;
    Shape shape;
    std::ptrdiff_t row;      // bytes from one row to the next
    std::ptrdiff_t picture;  // bytes from one picture to the next

    Byte *at(int picture_index, int row_index) const { return pixels + picture_index * picture + row_index * row; }

    bool is_packed() const {
        const auto one = std::ptrdiff_t(shape.row_bytes());
        return row == one && (shape.batch == 1 || picture == one * shape.height);
    }
};

using Source = View<const std::uint8_t>;
using Target = View<std::uint8_t>;

// One call of an engine: the pictures to read, and where to write the results.
struct Task {
    Source image;
    Target stylized;
};

// The same for pictures in GPU memory, without gaps. `stream` is a cudaStream_t.
struct GpuTask {
    Shape shape;
    const std::uint8_t *image;
    std::uint8_t *stylized;
    void *stream;
};

// Combines the caller's pointers and strides. Throws Error: NSTOPT_BAD_ARGUMENT if rows or pictures would overlap each
// other, NSTOPT_BAD_SIZE if no engine takes pictures of this size.
Task make_task(const Shape &shape, const std::uint8_t *image, const nstopt_strides *image_strides,
               std::uint8_t *stylized, const nstopt_strides *stylized_strides);

// Returns true if the two share memory, so that one cannot be written while the other is read.
bool overlap(const Source &left, const Target &right);

// Copy `pictures` row by row into `packed`, which holds shape.bytes(), and back.
void pack(const Source &pictures, std::uint8_t *packed);
void unpack(const std::uint8_t *packed, const Target &pictures);

}  // namespace nstopt::detail
