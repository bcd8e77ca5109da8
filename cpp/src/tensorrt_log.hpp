// Errors of TensorRT. Its functions return no reason: they log it, in the calling thread.
#pragma once

#include <NvInfer.h>

#include <cstdio>
#include <cstring>
#include <string>

#include "cuda.hpp"
#include "error.hpp"

namespace nstopt::detail {

// What was logged in this thread. The first messages say most, so a long text is cut at its end.
inline thread_local char logged[1024] = "";

// Returns the logger of all plans. It is never destroyed: TensorRT keeps the first logger that it was given and uses
// it for other plans too.
nvinfer1::ILogger &logger();

[[noreturn]] inline void fail(const std::string &what) { throw Error(NSTOPT_BAD_DEVICE, what); }

// Throws the error of a TensorRT call, with what TensorRT logged since `logged` was last cleared.
[[noreturn]] inline void fail_with_reason(const std::string &what, const std::string &hint = "") {
    const std::string cuda = take_cuda_error();
    const std::string reason = *logged ? logged : "TensorRT gives no reason";
    fail(what + ": " + reason + (cuda.empty() ? "" : "; " + cuda) + hint);
}

}  // namespace nstopt::detail
