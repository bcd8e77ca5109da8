/* nstopt.h: runs engine bundles that `nstopt build-engine` wrote, from C and C++. The manual is docs/cpp.md.
 *
 * Pictures are uint8 RGB, [batch, height, width, 3], in and out; everything else (layout, normalization, padding,
 * rounding) is inside the engine. Functions that can fail return a status and set the message of nstopt_last_error.
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
    NSTOPT_BAD_ARGUMENT = 1, /* a null pointer, or an option or a stride out of range */
    NSTOPT_BAD_BUNDLE = 2,   /* missing, damaged, changed, of another format, or its backend was not compiled in */
    NSTOPT_BAD_SIZE = 3,     /* the engine takes no pictures of this batch, height and width */
    NSTOPT_BUSY = 4,         /* max_jobs jobs are in flight: wait for one first */
    NSTOPT_BAD_DEVICE = 5,   /* the device or its vendor library is missing or failed */
    NSTOPT_NO_MEMORY = 6,
    NSTOPT_UNEXPECTED = 7 /* a bug in nstopt: please report it */
} nstopt_status;

/* A loaded engine. Any number of threads may use it. */
typedef struct nstopt_engine nstopt_engine;

/* Pictures that are being stylized. nstopt_submit makes a job, nstopt_wait frees it. */
typedef struct nstopt_job nstopt_job;

/* Options of nstopt_load. Set all fields with nstopt_options_init, then change some. */
typedef struct nstopt_options {
    size_t struct_size; /* size of the struct that the caller was compiled with; nstopt_options_init sets it */
    int32_t threads;    /* CPU threads of one run, 0..1024; default 0: the backend decides */
    int32_t max_jobs;   /* jobs in flight, 1..64; default 2 */
    int32_t gpu;        /* CUDA device number, 0..1023; default 0 */
} nstopt_options;

/* Number of pictures, and the pixels of each. nstopt_engine_shape uses 0 where more than one value is taken. */
typedef struct nstopt_shape {
    int32_t batch;
    int32_t height;
    int32_t width;
} nstopt_shape;

/* Bytes from one row to the next, and from one picture of a batch to the next. 0: no gaps. Either may be negative. For
 * pictures stored bottom row first, make `row` negative and let the pointer to the pixels point to the top row. */
typedef struct nstopt_strides {
    ptrdiff_t row;
    ptrdiff_t picture;
} nstopt_strides;

/* Version of this library, such as "0.1.0". */
NSTOPT_API const char *nstopt_version(void);

/* Message of this thread's last failed call. Valid until the next failure in this thread. */
NSTOPT_API const char *nstopt_last_error(void);

/* Sets all options to their defaults. `struct_size` is sizeof(nstopt_options). */
NSTOPT_API nstopt_status nstopt_options_init(nstopt_options *options, size_t struct_size);

/* Opens a bundle folder: checks every hash, then compiles the engine for the device. NULL options: the defaults. Free
 * *engine with nstopt_free; on failure it is NULL. */
NSTOPT_API nstopt_status nstopt_load(const char *bundle, const nstopt_options *options, nstopt_engine **engine);

/* Frees an engine; NULL is allowed. No other call may be using it, but jobs in flight can still be waited for. */
NSTOPT_API void nstopt_free(nstopt_engine *engine);

/* Gets the pictures that the engine takes. `batch` is 0 if it takes any number of pictures. `height` and `width` are 0
 * if it takes any size, or several (the message of NSTOPT_BAD_SIZE lists them). */
NSTOPT_API nstopt_status nstopt_engine_shape(const nstopt_engine *engine, nstopt_shape *shape);

/* Name of the engine's backend: "openvino" or "tensorrt". NULL if `engine` is NULL. Valid until the engine is freed. */
NSTOPT_API const char *nstopt_engine_backend(const nstopt_engine *engine);

/* Stylizes the pictures of `shape` at `image` into `stylized`. NULL strides: no gaps. If the two overlap, the input is
 * copied first. Calls from several threads run one after the other. */
NSTOPT_API nstopt_status nstopt_stylize(nstopt_engine *engine, const nstopt_shape *shape, const uint8_t *image,
                                        const nstopt_strides *image_strides, uint8_t *stylized,
                                        const nstopt_strides *stylized_strides);

/* Stylizes pictures in GPU memory, without a copy, and returns at once. The run takes its place in `stream`, a
 * cudaStream_t of the engine's GPU (NULL: the default stream): after the work that it holds, before what is put into it
 * later. Both memories have no gaps, are aligned to 256 bytes and must not overlap. Only for engines of TensorRT. Calls
 * run one after the other, and after those of nstopt_stylize. */
NSTOPT_API nstopt_status nstopt_enqueue(nstopt_engine *engine, const nstopt_shape *shape, const void *image,
                                        void *stylized, void *stream);

/* Begins to stylize, as nstopt_stylize does, and returns at once with the job in *job (NULL on failure). Both memories
 * must stay untouched until nstopt_wait has returned. Never waits for another job: NSTOPT_BUSY if max_jobs are in
 * flight. */
NSTOPT_API nstopt_status nstopt_submit(nstopt_engine *engine, const nstopt_shape *shape, const uint8_t *image,
                                       const nstopt_strides *image_strides, uint8_t *stylized,
                                       const nstopt_strides *stylized_strides, nstopt_job **job);

/* Waits until a job is done, returns the status of its run, and frees the job. Call it once for each job, from any
 * thread. */
NSTOPT_API nstopt_status nstopt_wait(nstopt_job *job);

#ifdef __cplusplus
}
#endif

#endif
