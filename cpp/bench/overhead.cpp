// Measures the time that nstopt adds to OpenVINO's own call:  nstopt-overhead BUNDLE HEIGHT WIDTH [ROUNDS]
// The two take turns, so that noise of the machine affects both. The result is the median of the differences.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <nstopt.hpp>
#include <openvino/openvino.hpp>
#include <string>
#include <vector>

namespace {

template <class Function>
double milliseconds(Function &&function) {
    const auto begin = std::chrono::steady_clock::now();
    function();
    return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count();
}

double median(std::vector<double> samples) {
    std::nth_element(samples.begin(), samples.begin() + std::ptrdiff_t(samples.size() / 2), samples.end());
    return samples[samples.size() / 2];
}

}  // namespace

int main(int count, char **arguments) {
    if (count < 4 || count > 5) {
        std::fprintf(stderr, "usage: nstopt-overhead BUNDLE HEIGHT WIDTH [ROUNDS]\n");
        return 2;
    }
    const std::string bundle = arguments[1];
    const int height = std::atoi(arguments[2]), width = std::atoi(arguments[3]);
    const int rounds = count == 5 ? std::atoi(arguments[4]) : 50;
    const ov::Shape shape{1, std::size_t(height), std::size_t(width), 3};
    std::vector<std::uint8_t> image(ov::shape_size(shape)), ours(image.size()), theirs(image.size());
    for (std::uint8_t &byte : image) {
        byte = std::uint8_t(std::rand());
    }
    nstopt::Engine engine(bundle.c_str());
    ov::Core core;
    ov::CompiledModel model = core.compile_model(bundle + "/model.xml", "CPU",
                                                 ov::hint::inference_precision(ov::element::f32),
                                                 ov::hint::performance_mode(ov::hint::PerformanceMode::LATENCY));
    ov::InferRequest request = model.create_infer_request();
    request.set_input_tensor(ov::Tensor(ov::element::u8, shape, image.data()));
    request.set_output_tensor(ov::Tensor(ov::element::u8, shape, theirs.data()));
    const auto backend = [&] { request.infer(); };
    const auto runtime = [&] { engine.stylize({1, height, width}, image.data(), ours.data()); };
    std::vector<double> backend_ms, difference_ms;
    for (int round = 0; round < rounds + 3; ++round) {
        double first = 0, second = 0;
        const auto time_backend = [&] {
            backend();  // not timed: the caches hold the other's data
            first = milliseconds(backend);
        };
        const auto time_runtime = [&] {
            runtime();  // not timed, likewise
            second = milliseconds(runtime);
        };
        round % 2 ? (time_backend(), time_runtime()) : (time_runtime(), time_backend());
        if (round >= 3) {
            backend_ms.push_back(first);
            difference_ms.push_back(second - first);
        }
    }
    if (ours != theirs) {
        std::fprintf(stderr, "error: nstopt and OpenVINO give different pictures\n");
        return 1;
    }
    const double own = median(backend_ms), added = median(difference_ms);
    std::printf("%dx%d, medians of %d: OpenVINO %.3f ms, nstopt adds %+.4f ms: %+.2f%%\n", height, width, rounds, own,
                added, 100 * added / own);
    return 0;
}
