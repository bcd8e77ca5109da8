// The OpenVINO backend. The bundle holds model.xml and model.bin. The configuration is that of
// nstopt/engines/openvino.py, so that both give the same picture bit for bit.
#include <openvino/openvino.hpp>

#include <array>
#include <cstring>
#include <sstream>
#include <utility>

#include "backend.hpp"
#include "error.hpp"

namespace nstopt::detail {
namespace {

// Returns the last line of OpenVINO's message; the lines before it name places in OpenVINO's source.
std::string reason(const std::exception &error) {
    std::string text = error.what();
    text.erase(text.find_last_not_of(" \n\r") + 1);
    const std::size_t newline = text.rfind('\n');
    return newline == std::string::npos ? text : text.substr(newline + 1);
}

template <class Function>
auto on_device(const std::string &doing, Function &&function) {
    try {
        return function();
    } catch (const ov::Exception &error) {
        throw Error(NSTOPT_BAD_DEVICE, doing + ": " + reason(error));
    }
}

std::string to_string(const ov::Output<const ov::Node> &port) {
    std::ostringstream text;
    text << port.get_any_name() << " " << port.get_element_type() << " " << port.get_partial_shape();
    return text.str();
}

// Returns whether a port has the name, the type and the dimensions that a manifest states, -1 for a free one. An
// output's dimension may be free although the input's is not: OpenVINO cannot always tell, and checks the result.
bool is_as_stated(const ov::Output<const ov::Node> &port, const char *name, const std::array<int64_t, 4> &dims,
                  bool may_be_free) {
    const ov::PartialShape &shape = port.get_partial_shape();
    if (port.get_any_name() != name || port.get_element_type() != ov::element::u8 || shape.size() != dims.size()) {
        return false;
    }
    for (std::size_t axis = 0; axis < dims.size(); ++axis) {
        const int64_t own = shape[axis].is_dynamic() ? -1 : shape[axis].get_length();
        if (own != dims[axis] && !(may_be_free && own == -1)) {
            return false;
        }
    }
    return true;
}

// Throws Error (NSTOPT_BAD_BUNDLE) unless the model takes and gives the pictures that the manifest states, as
// require_ports in nstopt/engines/engine.py.
void require_ports(const ov::Model &model, const Bundle &bundle) {
    const Size *size = bundle.shape.sizes.only();
    const std::array<int64_t, 4> dims{bundle.shape.batch.value_or(-1), size ? size->height : -1,
                                      size ? size->width : -1, kChannels};
    const bool has_ports = model.inputs().size() == 1 && model.outputs().size() == 1;
    if (!has_ports || !is_as_stated(model.input(), "image", dims, false) ||
        !is_as_stated(model.output(), "stylized", dims, true)) {
        std::string found;
        for (const auto &ports : {model.inputs(), model.outputs()}) {
            for (const auto &port : ports) {
                found += "; " + to_string(port);
            }
        }
        throw Error(NSTOPT_BAD_BUNDLE, bundle.folder.string() + ": not the engine that its manifest states, pictures of " +
                                           to_string(bundle.shape) + ", but it has" + found + "; build the engine again");
    }
}

// Returns whether the model was built to compute in BF16 between its convolutions.
bool wants_bf16(const ov::Model &model) {
    const std::vector<std::string> entry{"nstopt", "precision"};
    return model.has_rt_info(entry) && model.get_rt_info<std::string>(entry).find("bf16") != std::string::npos;
}

ov::AnyMap configuration(const ov::Model &model, const nstopt_options &options) {
    ov::AnyMap chosen{
        // Without this hint OpenVINO computes in BF16 on CPUs that have it, which is not always what was asked for.
        ov::hint::inference_precision(wants_bf16(model) ? ov::element::bf16 : ov::element::f32),
        ov::hint::performance_mode(ov::hint::PerformanceMode::LATENCY),
    };
    if (options.threads > 0) {
        chosen.insert(ov::inference_num_threads(options.threads));
    }
    return chosen;
}

// Reads and writes the caller's memory in place if it has no gaps.
class OpenVINORequest : public Request {
public:
    explicit OpenVINORequest(ov::InferRequest request) : request_(std::move(request)) {}

    void start(const Task &task) override {
        on_device(kRunning, [&] {
            bind(task);
            request_.start_async();
        });
    }

    void wait() override {
        on_device(kRunning, [&] { request_.wait(); });
        deliver();
    }

    // Runs in the calling thread, which saves waking another one.
    void run(const Task &task) override {
        on_device(kRunning, [&] {
            bind(task);
            request_.infer();
        });
        deliver();
    }

private:
    static constexpr const char *kRunning = "OpenVINO cannot run the engine";

    void bind(const Task &task) {
        const Shape &shape = task.image.shape;
        target_ = task.stylized;
        is_staged_ = !target_.is_packed();
        if (is_staged_) {
            to_.resize(shape.bytes());
        }
        request_.set_input_tensor(tensor(shape, source(task)));
        request_.set_output_tensor(tensor(shape, is_staged_ ? to_.data() : target_.pixels));
    }

    void deliver() {
        if (is_staged_) {
            unpack(to_.data(), target_);
        }
    }

    const std::uint8_t *source(const Task &task) {
        if (task.image.is_packed() && !overlap(task.image, task.stylized)) {
            return task.image.pixels;
        }
        from_.resize(task.image.shape.bytes());
        pack(task.image, from_.data());
        return from_.data();
    }

    // Casts away const, since not every version of OpenVINO has a tensor of constant memory; it only reads inputs.
    static ov::Tensor tensor(const Shape &shape, const std::uint8_t *pixels) {
        const ov::Shape dims{std::size_t(shape.batch), std::size_t(shape.height), std::size_t(shape.width), kChannels};
        return {ov::element::u8, dims, const_cast<std::uint8_t *>(pixels)};
    }

    ov::InferRequest request_;
    std::vector<std::uint8_t> from_;
    std::vector<std::uint8_t> to_;
    Target target_{};
    bool is_staged_ = false;
};

class OpenVINOModel : public Model {
public:
    OpenVINOModel(const Bundle &bundle, const nstopt_options &options) {
        const Bytes &xml = bundle.file("model.xml");
        const Bytes &bin = bundle.file("model.bin");
        on_device("OpenVINO cannot load " + bundle.folder.string(), [&] {
            ov::Tensor weights(ov::element::u8, {bin.size()});
            std::memcpy(weights.data(), bin.data(), bin.size());
            const auto model = core().read_model(std::string(xml.begin(), xml.end()), weights);
            require_ports(*model, bundle);
            // OpenVINO takes BF16 by itself where the CPU has it, and would emulate it elsewhere.
            if (wants_bf16(*model) && core().get_property("CPU", ov::hint::inference_precision) != ov::element::bf16) {
                throw Error(NSTOPT_BAD_DEVICE, bundle.folder.string() +
                                                   ": built for CPUs with BF16 arithmetic (AVX512-BF16 or AMX), which "
                                                   "this one lacks; build fp32 or int8 here");
            }
            compiled_ = core().compile_model(model, "CPU", configuration(*model, options));
        });
    }

    std::unique_ptr<Request> make_request() override {
        return on_device("OpenVINO cannot create an inference request", [&]() -> std::unique_ptr<Request> {
            return std::make_unique<OpenVINORequest>(compiled_.create_infer_request());
        });
    }

private:
    // Returns the process's only Core. Each Core installs its own alternate signal stack. If two Cores were destroyed
    // in the order in which they were made, a freed stack would stay installed, and the next signal would crash.
    static ov::Core &core() {
        static ov::Core core;
        return core;
    }

    ov::CompiledModel compiled_;
};

}  // namespace

std::unique_ptr<Model> load_openvino(const Bundle &bundle, const nstopt_options &options) {
    return std::make_unique<OpenVINOModel>(bundle, options);
}

}  // namespace nstopt::detail
