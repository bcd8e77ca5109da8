#include "pictures.hpp"

#include <cstdlib>
#include <cstring>
#include <functional>
#include <string>
#include <utility>

#include "error.hpp"

namespace nstopt::detail {
namespace {

constexpr int kMaxBatch = 16384;
// Within these limits, no offset within a batch can overflow.
constexpr std::ptrdiff_t kMaxRow = std::ptrdiff_t(1) << 32;
constexpr std::ptrdiff_t kMaxPicture = std::ptrdiff_t(1) << 48;

void check_size(const Shape &shape) {
    const auto side = [](int pixels) { return kMinSide <= pixels && pixels <= kMaxSide; };
    if (!side(shape.height) || !side(shape.width) || shape.batch < 1 || shape.batch > kMaxBatch) {
        throw Error(NSTOPT_BAD_SIZE, "the pictures are (batch x height x width) " + to_string(shape) +
                                         ": each side must lie in " + std::to_string(kMinSide) + ".." +
                                         std::to_string(kMaxSide) + ", and the batch in 1.." +
                                         std::to_string(kMaxBatch));
    }
}

template <class Byte>
View<Byte> make_view(const char *name, Byte *pixels, const Shape &shape, const nstopt_strides *strides) {
    const auto one = std::ptrdiff_t(shape.row_bytes());
    const std::ptrdiff_t row = strides && strides->row ? strides->row : one;
    if (row > kMaxRow || row < -kMaxRow || std::abs(row) < one) {
        throw Error(NSTOPT_BAD_ARGUMENT, std::string("the row stride of ") + name + " is " + std::to_string(row) +
                                             " bytes, but a row has " + std::to_string(one));
    }
    const std::ptrdiff_t picture = strides && strides->picture ? strides->picture : row * shape.height;
    const std::ptrdiff_t needed = std::abs(row) * (shape.height - 1) + one;
    if (picture > kMaxPicture || picture < -kMaxPicture || (shape.batch > 1 && std::abs(picture) < needed)) {
        throw Error(NSTOPT_BAD_ARGUMENT, std::string("the picture stride of ") + name + " is " +
                                             std::to_string(picture) + " bytes, but a picture spans " +
                                             std::to_string(needed));
    }
    return {pixels, shape, row, picture};
}

// Returns the first byte of the pictures and the one after the last.
template <class Byte>
std::pair<const std::uint8_t *, const std::uint8_t *> span(const View<Byte> &view) {
    const std::ptrdiff_t rows = view.row * (view.shape.height - 1);
    const std::ptrdiff_t pictures = view.picture * (view.shape.batch - 1);
    const auto below = [](std::ptrdiff_t offset) { return offset < 0 ? offset : 0; };
    return {view.pixels + below(rows) + below(pictures),
            view.pixels + (rows - below(rows)) + (pictures - below(pictures)) + view.shape.row_bytes()};
}

}  // namespace

Task make_task(const Shape &shape, const std::uint8_t *image, const nstopt_strides *image_strides,
               std::uint8_t *stylized, const nstopt_strides *stylized_strides) {
    check_size(shape);
    return {make_view("image", image, shape, image_strides),
            make_view("stylized", stylized, shape, stylized_strides)};
}

bool overlap(const Source &left, const Target &right) {
    const auto [left_begin, left_end] = span(left);
    const auto [right_begin, right_end] = span(right);
    const std::less<const std::uint8_t *> before;  // unlike <, defined for pointers into different arrays
    return before(left_begin, right_end) && before(right_begin, left_end);
}

void pack(const Source &pictures, std::uint8_t *packed) {
    const std::size_t bytes = pictures.shape.row_bytes();
    for (int picture = 0; picture < pictures.shape.batch; ++picture) {
        for (int row = 0; row < pictures.shape.height; ++row, packed += bytes) {
            std::memcpy(packed, pictures.at(picture, row), bytes);
        }
    }
}

void unpack(const std::uint8_t *packed, const Target &pictures) {
    const std::size_t bytes = pictures.shape.row_bytes();
    for (int picture = 0; picture < pictures.shape.batch; ++picture) {
        for (int row = 0; row < pictures.shape.height; ++row, packed += bytes) {
            std::memcpy(pictures.at(picture, row), packed, bytes);
        }
    }
}

}  // namespace nstopt::detail
