// Pictures in the caller's memory: uint8 RGB, [batch, height, width, 3], with any distance between rows and pictures.
#pragma once

#include <cstddef>
#include <cstdint>

#include "nstopt.h"

namespace nstopt {

constexpr int kChannels = 3;

struct Size {
    int height;
    int width;
};

struct Shape {
    int batch;
    int height;
    int width;

    std::size_t row_bytes() const { return std::size_t(width) * kChannels; }
    std::size_t bytes() const { return std::size_t(batch) * std::size_t(height) * row_bytes(); }
};

// `Byte` is std::uint8_t for pictures that are written, const std::uint8_t for those that are read.
template <class Byte>
struct View {
    Byte *pixels;
    Shape shape;
    std::ptrdiff_t row;      // bytes from a row to the next
    std::ptrdiff_t picture;  // bytes from a picture to the next

    Byte *at(int picture_index, int row_index) const { return pixels + picture_index * picture + row_index * row; }

    bool is_packed() const {
        const auto one = std::ptrdiff_t(shape.row_bytes());
        return row == one && (shape.batch == 1 || picture == one * shape.height);
    }
};

using Source = View<const std::uint8_t>;
using Target = View<std::uint8_t>;

// What an engine is asked to do.
struct Work {
    Source image;
    Target stylized;
};

// Puts the caller's pointers and strides together. Throws Error: NSTOPT_BAD_ARGUMENT if rows or pictures would overlap
// each other, NSTOPT_BAD_SIZE if no engine takes pictures of this size.
Work make_work(const Shape &shape, const std::uint8_t *image, const nstopt_strides *image_strides,
               std::uint8_t *stylized, const nstopt_strides *stylized_strides);

// Whether the two share memory, so that one cannot be written while the other is read.
bool overlap(const Source &left, const Target &right);

// `pictures` row after row into `packed`, shape.bytes() of them, and back.
void pack(const Source &pictures, std::uint8_t *packed);
void unpack(const std::uint8_t *packed, const Target &pictures);

}  // namespace nstopt
