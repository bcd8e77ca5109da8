// A loaded engine: what all backends share. It checks picture sizes and limits the jobs in flight.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "backend.hpp"

namespace nstopt::detail {

class Job;

class Engine {
public:
    // Throws Error, as the backend's load function does.
    Engine(const Bundle &bundle, const nstopt_options &options);

    // Stylizes; concurrent calls run one after the other. Throws Error.
    void stylize(const Task &task);

    // Stylizes in GPU memory, in the order of the task's stream. Throws Error.
    void enqueue(const GpuTask &task);

    // Begins to stylize. Throws Error, NSTOPT_BUSY if max_jobs are in flight.
    static std::unique_ptr<Job> submit(const std::shared_ptr<Engine> &engine, const Task &task);

    const std::string net;
    const std::string backend;
    const InputShape shape;

private:
    friend class Job;

    void check_fits(const Shape &asked) const;
    void with_own_request(const std::function<void(Request &)> &use);
    void enter();
    std::unique_ptr<Request> idle_request(const Shape &shape);
    void leave(std::unique_ptr<Request> request, const Shape &shape);

    const int max_jobs_;
    std::unique_ptr<Model> model_;
    std::mutex running_;
    std::unique_ptr<Request> own_;  // reserved for `stylize`, so that it never waits for a job
    std::mutex counting_;
    struct Idle {
        std::unique_ptr<Request> request;
        Shape shape;  // of its last pictures
    };
    std::vector<Idle> idle_;
    int in_flight_ = 0;
};

// Pictures in flight. A job keeps its engine alive, holds one of its max_jobs places, and returns its request to the
// engine at the end.
class Job {
public:
    // Throws Error, NSTOPT_BUSY if no place is free.
    explicit Job(std::shared_ptr<Engine> engine);
    ~Job();
    Job(const Job &) = delete;
    Job &operator=(const Job &) = delete;

    // Call each once. Both throw Error.
    void start(const Task &task);
    void wait();

private:
    std::shared_ptr<Engine> engine_;
    std::unique_ptr<Request> request_;
    Shape shape_{};
    bool is_healthy_ = false;
};

}  // namespace nstopt::detail
