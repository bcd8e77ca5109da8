// Stylizes a picture file and prints timings:  nstopt-stylize BUNDLE IN OUT.png [RUNS]
#define STB_IMAGE_IMPLEMENTATION
#define STB_IMAGE_WRITE_IMPLEMENTATION
#include <stb_image.h>
#include <stb_image_write.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <nstopt.hpp>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

struct Picture {
    int height = 0;
    int width = 0;
    std::vector<std::uint8_t> pixels;  // RGB
};

Picture read_picture(const char *path) {
    Picture picture;
    int channels = 0;
    const std::unique_ptr<stbi_uc, decltype(&stbi_image_free)> loaded(
        stbi_load(path, &picture.width, &picture.height, &channels, 3), stbi_image_free);
    if (!loaded) {
        throw std::runtime_error(std::string(path) + ": cannot be read: " + stbi_failure_reason());
    }
    picture.pixels.assign(loaded.get(), loaded.get() + std::size_t(picture.height) * std::size_t(picture.width) * 3);
    return picture;
}

void write_picture(const char *path, const Picture &picture) {
    if (!stbi_write_png(path, picture.width, picture.height, 3, picture.pixels.data(), picture.width * 3)) {
        throw std::runtime_error(std::string(path) + ": cannot be written");
    }
}

template <class Function>
double milliseconds(Function &&function) {
    const auto begin = std::chrono::steady_clock::now();
    function();
    return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count();
}

void stylize(const char *bundle, const char *in, const char *out, int runs) {
    std::unique_ptr<nstopt::Engine> engine;
    const double load_ms = milliseconds([&] { engine = std::make_unique<nstopt::Engine>(bundle); });
    const Picture picture = read_picture(in);
    Picture stylized = picture;
    std::vector<double> latency_ms;
    for (int run = 0; run < runs; ++run) {
        latency_ms.push_back(milliseconds([&] {
            engine->stylize({1, picture.height, picture.width}, picture.pixels.data(), stylized.pixels.data());
        }));
    }
    write_picture(out, stylized);
    std::printf("%s: %dx%d, %s\n", out, picture.height, picture.width, engine->backend());
    std::printf("loaded in %.1f ms, first run %.1f ms", load_ms, latency_ms.front());
    if (runs > 1) {
        std::sort(latency_ms.begin() + 1, latency_ms.end());
        std::printf(", median of %d more %.1f ms", runs - 1, latency_ms[1 + std::size_t(runs - 1) / 2]);
    }
    std::printf("\n");
}

}  // namespace

int main(int count, char **arguments) {
    const int runs = count == 5 ? std::atoi(arguments[4]) : 1;
    if (count < 4 || count > 5 || runs < 1) {
        std::fprintf(stderr, "usage: nstopt-stylize BUNDLE IN OUT.png [RUNS]\n");
        return 2;
    }
    try {
        stylize(arguments[1], arguments[2], arguments[3], runs);
    } catch (const std::exception &error) {
        std::fprintf(stderr, "error: %s\n", error.what());
        return 1;
    }
    return 0;
}
