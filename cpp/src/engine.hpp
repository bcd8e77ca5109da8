// A loaded engine: what all backends do alike. Sizes are checked here, and who may run when is decided here.
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "backend.hpp"

namespace nstopt {

class Job;

class Engine {
public:
    // Throws Error, as the backend's function does.
    Engine(const Bundle &bundle, const nstopt_options &options);

    // Stylizes, one call after the other. Throws Error.
    void stylize(const Work &work);

    // Begins to stylize. Throws Error, NSTOPT_BUSY if max_jobs are in flight.
    static std::unique_ptr<Job> submit(const std::shared_ptr<Engine> &engine, const Work &work);

    const std::string net;
    const std::string backend;
    const Shape shape;
    const std::vector<Size> sizes;  // as in Bundle

private:
    friend class Job;

    void check_fits(const Shape &asked) const;
    void check_listed(const Shape &asked) const;
    void enter();
    std::unique_ptr<Request> idle_request();
    void leave(std::unique_ptr<Request> request);

    const int max_jobs_;
    std::unique_ptr<Model> model_;
    std::mutex running_;
    std::unique_ptr<Request> own_;  // of `stylize`, so that it never waits for somebody's job
    std::mutex counting_;
    std::vector<std::unique_ptr<Request>> idle_;
    int in_flight_ = 0;
};

// Pictures in flight. It keeps its engine alive, has one of its max_jobs places, and leaves it a request at the end.
class Job {
public:
    // Throws Error, NSTOPT_BUSY if there is no place.
    explicit Job(std::shared_ptr<Engine> engine);
    ~Job();
    Job(const Job &) = delete;
    Job &operator=(const Job &) = delete;

    // Each called once. They throw Error.
    void start(const Work &work);
    void wait();

private:
    std::shared_ptr<Engine> engine_;
    std::unique_ptr<Request> request_;
    bool is_healthy_ = false;
};

}  // namespace nstopt
