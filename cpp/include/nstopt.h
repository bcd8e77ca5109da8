/* nstopt.h: run an engine bundle that `nstopt build-engine` wrote, from C or C++. The manual is docs/cpp.md.
 *
 * Pictures are uint8 RGB, [batch, height, width, 3], in and out; everything else (layout, normalization, padding,
 * rounding) is inside the engine. Functions that can fail return a status and leave a sentence for nstopt_last_error.
 */
#ifndef NSTOPT_H
#define NSTOPT_H

#include <stddef.h>
#include <stdint.h>

#if defined(_WIN32) && !defined(NSTOPT_STATIC)
#ifdef NSTOPT_BUILDS_LIBRARY
#define NSTOPT_API __declspec(dllexport)
#else
#define NSTOPT_API __declspec(dllimport)
#endif
#elif defined(__GNUC__)
#define NSTOPT_API __attribute__((visibility("default")))
#else
#define NSTOPT_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

typedef enum nstopt_status {
    NSTOPT_OK = 0,
    NSTOPT_BAD_ARGUMENT = 1, /* a null pointer, an option or a stride that makes no sense */
    NSTOPT_BAD_BUNDLE = 2,   /* missing, damaged, changed, of another format, or for a backend that is not built in */
    NSTOPT_BAD_SIZE = 3,     /* the engine takes no pictures of this batch, height and width */
    NSTOPT_BUSY = 4,         /* max_jobs jobs are in flight: wait for one of them first */
    NSTOPT_BAD_DEVICE = 5,   /* the device or its vendor library is missing, or failed */
    NSTOPT_NO_MEMORY = 6,
    NSTOPT_UNEXPECTED = 7 /* a bug in nstopt: please report it */
} nstopt_status;

/* A loaded engine. Any number of threads may use it. */
typedef struct nstopt_engine nstopt_engine;

/* Pictures that are being stylized. Belongs to whoever submitted them, until nstopt_wait takes it. */
typedef struct nstopt_job nstopt_job;

/* Set all fields with nstopt_options_init, then change what is to be other than the default. */
typedef struct nstopt_options {
    size_t struct_size; /* what the caller was compiled with; nstopt_options_init sets it */
    int32_t threads;    /* CPU threads of one run; 0 (default): as many as the backend finds best */
    int32_t max_jobs;   /* jobs in flight, 1..64; default 2 */
    int32_t gpu;        /* number of the GPU, as CUDA counts them; default 0 */
} nstopt_options;

/* Number of pictures, and the pixels of each. In nstopt_engine_shape, 0 stands for any number. */
typedef struct nstopt_shape {
    int32_t batch;
    int32_t height;
    int32_t width;
} nstopt_shape;

/* Bytes from one row to the next, and from one picture of a batch to the next. Either may be negative (a picture that
 * is stored bottom row first: let `pixels` point to the row that is on top). 0: as close as they can be. */
typedef struct nstopt_strides {
    ptrdiff_t row;
    ptrdiff_t picture;
} nstopt_strides;

/* Version of this library, such as "0.1.0". */
NSTOPT_API const char *nstopt_version(void);

/* Why the last call of this thread that failed did so. Valid until the next failure in this thread. */
NSTOPT_API const char *nstopt_last_error(void);

/* Set all options to their defaults. `struct_size` is sizeof(nstopt_options). */
NSTOPT_API nstopt_status nstopt_options_init(nstopt_options *options, size_t struct_size);

/* Open a bundle folder: check every hash, then compile it for the device. `options` may be NULL. On success, give
 * *engine back with nstopt_free; on failure *engine is NULL. */
NSTOPT_API nstopt_status nstopt_load(const char *bundle, const nstopt_options *options, nstopt_engine **engine);

/* Give an engine back; NULL is fine. No call may be running on it, but jobs in flight may still be waited for. */
NSTOPT_API void nstopt_free(nstopt_engine *engine);

/* What the engine takes; 0 where it takes any, or several (NSTOPT_BAD_SIZE names them). */
NSTOPT_API nstopt_status nstopt_engine_shape(const nstopt_engine *engine, nstopt_shape *shape);

/* Name of its backend: "openvino" or "tensorrt". NULL if `engine` is. Valid until the engine is freed. */
NSTOPT_API const char *nstopt_engine_backend(const nstopt_engine *engine);

/* Stylize `shape` pictures at `image` into `stylized`. NULL strides: no gaps. The two may overlap: the input is copied
 * first then. Calls from several threads run one after the other. */
NSTOPT_API nstopt_status nstopt_stylize(nstopt_engine *engine, const nstopt_shape *shape, const uint8_t *image,
                                        const nstopt_strides *image_strides, uint8_t *stylized,
                                        const nstopt_strides *stylized_strides);

/* The same without waiting for the result. Both memories must stay as they are until nstopt_wait has returned. Never
 * blocks for another job: NSTOPT_BUSY if max_jobs are in flight. On failure *job is NULL. */
NSTOPT_API nstopt_status nstopt_submit(nstopt_engine *engine, const nstopt_shape *shape, const uint8_t *image,
                                       const nstopt_strides *image_strides, uint8_t *stylized,
                                       const nstopt_strides *stylized_strides, nstopt_job **job);

/* Wait until a job is done, say how it went, and free it: each job is waited for once, from any thread. */
NSTOPT_API nstopt_status nstopt_wait(nstopt_job *job);

#ifdef __cplusplus
}
#endif

#endif
