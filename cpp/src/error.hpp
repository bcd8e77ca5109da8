// The exception that the library throws inside; api.cpp turns it into a status and a message.
#pragma once

#include <stdexcept>
#include <string>

#include "nstopt.h"

namespace nstopt::detail {

class Error : public std::runtime_error {
public:
    Error(nstopt_status status, const std::string &message) : std::runtime_error(message), status(status) {}

    const nstopt_status status;
};

}  // namespace nstopt::detail
