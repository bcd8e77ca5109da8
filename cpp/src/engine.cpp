#include "engine.hpp"

#include <algorithm>
#include <utility>

#include "error.hpp"

namespace nstopt::detail {
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

}  // namespace

Engine::Engine(const Bundle &bundle, const nstopt_options &options)
    : net(bundle.net),
      backend(bundle.backend),
      shape(bundle.shape),
      max_jobs_(options.max_jobs),
      model_(load_model(bundle, options)),
      own_(model_->make_request()) {
    idle_.reserve(static_cast<std::size_t>(max_jobs_));
}

void Engine::check_fits(const Shape &asked) const {
    if (!shape.sizes.contains(asked.size()) || shape.batch.value_or(asked.batch) != asked.batch) {
        throw Error(NSTOPT_BAD_SIZE, net + " is built for pictures of (batch x height x width) " + to_string(shape) +
                                         ", not " + to_string(asked) + "; build with --res " +
                                         to_string(asked.size()) + " --batch " + std::to_string(asked.batch));
    }
}

void Engine::stylize(const Task &task) {
    check_fits(task.image.shape);
    with_own_request([&](Request &request) { request.run(task); });
}

void Engine::enqueue(const GpuTask &task) {
    check_fits(task.shape);
    with_own_request([&](Request &request) { request.enqueue(task); });
}

void Engine::with_own_request(const std::function<void(Request &)> &use) {
    const std::lock_guard<std::mutex> lock(running_);
    if (!own_) {
        own_ = model_->make_request();
    }
    // A request that failed may be in any state, so it is not used again.
    std::unique_ptr<Request> request = std::move(own_);
    use(*request);
    own_ = std::move(request);
}

std::unique_ptr<Job> Engine::submit(const std::shared_ptr<Engine> &engine, const Task &task) {
    engine->check_fits(task.image.shape);
    auto job = std::make_unique<Job>(engine);
    job->start(task);
    return job;
}

// Takes a place for a job. `counting_` is never held while waiting for the device, because submit must not block.
void Engine::enter() {
    const std::lock_guard<std::mutex> lock(counting_);
    if (in_flight_ == max_jobs_) {
        throw Error(NSTOPT_BUSY, std::to_string(max_jobs_) + " jobs are in flight, which is max_jobs: wait for one");
    }
    ++in_flight_;
}

// Returns a request that a job has left, null if there is none. One that had pictures of this shape is ready for more.
std::unique_ptr<Request> Engine::idle_request(const Shape &shape) {
    const std::lock_guard<std::mutex> lock(counting_);
    if (idle_.empty()) {
        return nullptr;
    }
    auto found = std::find_if(idle_.begin(), idle_.end(), [&](const Idle &one) { return one.shape == shape; });
    found = found == idle_.end() ? found - 1 : found;
    std::unique_ptr<Request> request = std::move(found->request);
    idle_.erase(found);
    return request;
}

void Engine::leave(std::unique_ptr<Request> request, const Shape &shape) {
    const std::lock_guard<std::mutex> lock(counting_);
    --in_flight_;
    if (request) {
        idle_.push_back({std::move(request), shape});  // cannot throw: capacity for max_jobs is reserved
    }
}

Job::Job(std::shared_ptr<Engine> engine) : engine_(std::move(engine)) { engine_->enter(); }

void Job::start(const Task &task) {
    shape_ = task.image.shape;
    request_ = engine_->idle_request(shape_);
    if (!request_) {
        request_ = engine_->model_->make_request();
    }
    request_->start(task);
}

void Job::wait() {
    request_->wait();
    is_healthy_ = true;
}

Job::~Job() {
    if (!is_healthy_) {  // the request may be in any state
        request_.reset();
    }
    engine_->leave(std::move(request_), shape_);
}

}  // namespace nstopt::detail
