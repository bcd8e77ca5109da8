// The C ABI: checks arguments, turns exceptions into a status and a message, and owns the objects behind the handles.
#include <cstdint>
#include <cstdio>
#include <memory>
#include <new>
#include <string>

#include "bundle.hpp"
#include "engine.hpp"
#include "error.hpp"
#include "nstopt.h"

struct nstopt_engine {
    std::shared_ptr<nstopt::detail::Engine> engine;  // shared with the jobs in flight
};

struct nstopt_job {
    std::unique_ptr<nstopt::detail::Job> job;
};

namespace {

using nstopt::detail::Error;
using nstopt::detail::Task;

constexpr nstopt_options kDefaults{sizeof(nstopt_options), 0, 2, 0};

// A plain array, so that reporting NSTOPT_NO_MEMORY allocates nothing.
thread_local char last_error[2048] = "";

nstopt_status report(nstopt_status status, const char *message) noexcept {
    std::snprintf(last_error, sizeof last_error, "%s", message);
    return status;
}

template <class Function>
nstopt_status guarded(Function &&function) noexcept {
    try {
        function();
        return NSTOPT_OK;
    } catch (const Error &error) {
        return report(error.status, error.what());
    } catch (const std::bad_alloc &) {
        return report(NSTOPT_NO_MEMORY, "out of memory");
    } catch (const std::exception &error) {
        return report(NSTOPT_UNEXPECTED, error.what());
    } catch (...) {
        return report(NSTOPT_UNEXPECTED, "an exception of unknown type");
    }
}

void require(const void *pointer, const char *name) {
    if (!pointer) {
        throw Error(NSTOPT_BAD_ARGUMENT, std::string(name) + " is NULL");
    }
}

void require_between(int low, int value, int high, const char *name) {
    if (value < low || value > high) {
        throw Error(NSTOPT_BAD_ARGUMENT, std::string("the option ") + name + " is " + std::to_string(value) +
                                             ", but must lie in " + std::to_string(low) + ".." + std::to_string(high));
    }
}

void require_struct_size(std::size_t size) {
    if (size != sizeof(nstopt_options)) {  // a later version, with more fields at the end, must accept this size too
        throw Error(NSTOPT_BAD_ARGUMENT, "nstopt_options has " + std::to_string(size) + " bytes, but this library (" +
                                             nstopt_version() + ") expects " + std::to_string(sizeof(nstopt_options)) +
                                             ": set it with nstopt_options_init, of the same nstopt.h");
    }
}

nstopt_options checked_options(const nstopt_options *given) {
    if (!given) {
        return kDefaults;
    }
    require_struct_size(given->struct_size);
    require_between(0, given->threads, 1024, "threads");
    require_between(1, given->max_jobs, 64, "max_jobs");
    require_between(0, given->gpu, 1023, "gpu");
    return *given;
}

Task checked_task(const nstopt_engine *engine, const nstopt_shape *shape, const uint8_t *image,
                  const nstopt_strides *image_strides, uint8_t *stylized, const nstopt_strides *stylized_strides) {
    require(engine, "engine");
    require(shape, "shape");
    require(image, "image");
    require(stylized, "stylized");
    return nstopt::detail::make_task({shape->batch, shape->height, shape->width}, image, image_strides, stylized,
                                     stylized_strides);
}

// TensorRT requires this alignment; memory of cudaMalloc has it.
bool is_aligned(const uint8_t *memory) { return reinterpret_cast<std::uintptr_t>(memory) % 256 == 0; }

}  // namespace

extern "C" {

const char *nstopt_version(void) { return NSTOPT_VERSION; }

const char *nstopt_last_error(void) { return last_error; }

nstopt_status nstopt_options_init(nstopt_options *options, size_t struct_size) {
    return guarded([&] {
        require(options, "options");
        require_struct_size(struct_size);
        *options = kDefaults;
    });
}

nstopt_status nstopt_load(const char *bundle, const nstopt_options *options, nstopt_engine **engine) {
    return guarded([&] {
        require(engine, "engine");
        *engine = nullptr;
        require(bundle, "bundle");
        const nstopt_options chosen = checked_options(options);
        const nstopt::detail::Bundle opened(bundle);
        *engine = new nstopt_engine{std::make_shared<nstopt::detail::Engine>(opened, chosen)};
    });
}

void nstopt_free(nstopt_engine *engine) { delete engine; }

nstopt_status nstopt_engine_shape(const nstopt_engine *engine, nstopt_shape *shape) {
    return guarded([&] {
        require(engine, "engine");
        require(shape, "shape");
        const nstopt::detail::InputShape &own = engine->engine->shape;
        const nstopt::detail::Size *size = own.sizes.only();
        *shape = {own.batch.value_or(0), size ? size->height : 0, size ? size->width : 0};
    });
}

const char *nstopt_engine_backend(const nstopt_engine *engine) {
    return engine ? engine->engine->backend.c_str() : nullptr;
}

nstopt_status nstopt_stylize(nstopt_engine *engine, const nstopt_shape *shape, const uint8_t *image,
                             const nstopt_strides *image_strides, uint8_t *stylized,
                             const nstopt_strides *stylized_strides) {
    return guarded([&] {
        const Task task = checked_task(engine, shape, image, image_strides, stylized, stylized_strides);
        engine->engine->stylize(task);
    });
}

nstopt_status nstopt_enqueue(nstopt_engine *engine, const nstopt_shape *shape, const void *image, void *stylized,
                             void *stream) {
    return guarded([&] {
        auto *const from = static_cast<const uint8_t *>(image);
        auto *const to = static_cast<uint8_t *>(stylized);
        const Task task = checked_task(engine, shape, from, nullptr, to, nullptr);
        if (nstopt::detail::overlap(task.image, task.stylized)) {
            throw Error(NSTOPT_BAD_ARGUMENT, "image and stylized overlap");
        }
        if (!is_aligned(from) || !is_aligned(to)) {
            throw Error(NSTOPT_BAD_ARGUMENT, "memory of the GPU must be aligned to 256 bytes");
        }
        engine->engine->enqueue({task.image.shape, from, to, stream});
    });
}

nstopt_status nstopt_submit(nstopt_engine *engine, const nstopt_shape *shape, const uint8_t *image,
                            const nstopt_strides *image_strides, uint8_t *stylized,
                            const nstopt_strides *stylized_strides, nstopt_job **job) {
    return guarded([&] {
        require(job, "job");
        *job = nullptr;
        const Task task = checked_task(engine, shape, image, image_strides, stylized, stylized_strides);
        auto handle = std::make_unique<nstopt_job>();
        handle->job = nstopt::detail::Engine::submit(engine->engine, task);
        *job = handle.release();
    });
}

nstopt_status nstopt_wait(nstopt_job *job) {
    return guarded([&] {
        require(job, "job");
        const std::unique_ptr<nstopt_job> owned(job);
        owned->job->wait();
    });
}

}  // extern "C"
