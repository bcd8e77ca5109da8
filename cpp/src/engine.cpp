#include "engine.hpp"

#include <utility>

#include "error.hpp"

namespace nstopt {
namespace {

std::unique_ptr<Model> load_model(const Bundle &bundle, const nstopt_options &options) {
#ifdef NSTOPT_HAS_OPENVINO
    if (bundle.backend == "openvino") {
        return load_openvino(bundle, options);
    }
#endif
#ifdef NSTOPT_HAS_TENSORRT
    if (bundle.backend == "tensorrt") {
        return load_tensorrt(bundle, options);
    }
#endif
    throw Error(NSTOPT_BAD_BUNDLE, bundle.folder.string() + ": built with " + bundle.backend +
                                       ", which this library was compiled without; see docs/cpp.md");
}

std::string text(int number) { return number == 0 ? "any" : std::to_string(number); }

std::string text(const Size &size) { return std::to_string(size.height) + "x" + std::to_string(size.width); }

}  // namespace

Engine::Engine(const Bundle &bundle, const nstopt_options &options)
    : net(bundle.net),
      backend(bundle.backend),
      shape(bundle.shape),
      sizes(bundle.sizes),
      max_jobs_(options.max_jobs),
      model_(load_model(bundle, options)),
      own_(model_->make_request()) {
    idle_.reserve(static_cast<std::size_t>(max_jobs_));
}

void Engine::check_listed(const Shape &asked) const {
    std::string others;
    for (const Size &size : sizes) {
        if (size.height == asked.height && size.width == asked.width) {
            return;
        }
        others += (others.empty() ? "" : ", ") + text(size);
    }
    if (!sizes.empty()) {
        const std::string size = text(Size{asked.height, asked.width});
        throw Error(NSTOPT_BAD_SIZE,
                    net + " is built for pictures of " + others + ", not " + size + "; build with --res " + size + " too");
    }
}

void Engine::check_fits(const Shape &asked) const {
    check_listed(asked);
    const auto fits = [](int built, int wanted) { return built == 0 || built == wanted; };
    if (!fits(shape.batch, asked.batch) || !fits(shape.height, asked.height) || !fits(shape.width, asked.width)) {
        const std::string size = text(Size{asked.height, asked.width});
        const std::string batch = std::to_string(asked.batch);
        throw Error(NSTOPT_BAD_SIZE, net + " is built for pictures of (batch x height x width) " + text(shape.batch) +
                                         "x" + text(shape.height) + "x" + text(shape.width) + ", not " + batch + "x" +
                                         size + "; build with --res " + size + " --batch " + batch);
    }
}

void Engine::stylize(const Work &work) {
    check_fits(work.image.shape);
    const std::lock_guard<std::mutex> lock(running_);
    if (!own_) {
        own_ = model_->make_request();
    }
    // A request that failed may be in any state: it does not come back.
    std::unique_ptr<Request> request = std::move(own_);
    request->run(work);
    own_ = std::move(request);
}

std::unique_ptr<Job> Engine::submit(const std::shared_ptr<Engine> &engine, const Work &work) {
    engine->check_fits(work.image.shape);
    auto job = std::make_unique<Job>(engine);
    job->start(work);
    return job;
}

// A job's place. Nothing that may wait for the device is done while `counting_` is locked: submit does not wait.
void Engine::enter() {
    const std::lock_guard<std::mutex> lock(counting_);
    if (in_flight_ == max_jobs_) {
        throw Error(NSTOPT_BUSY, std::to_string(max_jobs_) + " jobs are in flight, which is max_jobs: wait for one");
    }
    ++in_flight_;
}

// Null if there is none.
std::unique_ptr<Request> Engine::idle_request() {
    const std::lock_guard<std::mutex> lock(counting_);
    if (idle_.empty()) {
        return nullptr;
    }
    std::unique_ptr<Request> request = std::move(idle_.back());
    idle_.pop_back();
    return request;
}

void Engine::leave(std::unique_ptr<Request> request) {
    const std::lock_guard<std::mutex> lock(counting_);
    --in_flight_;
    if (request) {
        idle_.push_back(std::move(request));  // does not throw: there is room for max_jobs
    }
}

Job::Job(std::shared_ptr<Engine> engine) : engine_(std::move(engine)) { engine_->enter(); }

void Job::start(const Work &work) {
    request_ = engine_->idle_request();
    if (!request_) {
        request_ = engine_->model_->make_request();
    }
    request_->start(work);
}

void Job::wait() {
    request_->wait();
    is_healthy_ = true;
}

Job::~Job() {
    if (!is_healthy_) {  // it may be in any state
        request_.reset();
    }
    engine_->leave(std::move(request_));
}

}  // namespace nstopt
