// Picture sizes: one, several or any. The counterpart of nstopt/pictures/size.py.
#pragma once

#include <algorithm>
#include <string>
#include <vector>

namespace nstopt::detail {

constexpr int kMinSide = 16;
constexpr int kMaxSide = 16384;

// Height and width in pixels.
struct Size {
    int height;
    int width;

    bool operator==(const Size &other) const { return height == other.height && width == other.width; }
};

inline std::string to_string(const Size &size) {
    return std::to_string(size.height) + "x" + std::to_string(size.width);
}

// The picture sizes that an engine takes: those listed, or any size if none is listed.
class Sizes {
public:
    Sizes() = default;
    explicit Sizes(const std::vector<Size> &listed) {
        for (const Size &size : listed) {
            if (!lists(size)) {
                listed_.push_back(size);
            }
        }
    }

    bool is_any() const { return listed_.empty(); }

    // The one size that is taken; null if there are several, or any.
    const Size *only() const { return listed_.size() == 1 ? listed_.data() : nullptr; }

    bool contains(const Size &size) const { return is_any() || lists(size); }

    friend std::string to_string(const Sizes &sizes) {
        std::string text;
        for (const Size &size : sizes.listed_) {
            text += (text.empty() ? "" : ", ") + to_string(size);
        }
        return sizes.is_any() ? "any size" : text;
    }

private:
    bool lists(const Size &size) const { return std::find(listed_.begin(), listed_.end(), size) != listed_.end(); }

    std::vector<Size> listed_;
};

}  // namespace nstopt::detail
