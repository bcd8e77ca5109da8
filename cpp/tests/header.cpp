// nstopt.hpp is C++17: this compiles with -Wpedantic -Werror, and an error arrives as an exception.
#include <cstring>
#include <nstopt.hpp>

int main() {
    try {
        nstopt::Net net("/no/such/bundle");
    } catch (const nstopt::Exception &error) {
        const bool is_told = std::strstr(error.what(), "/no/such/bundle: no such folder") != nullptr;
        return error.status() == NSTOPT_BAD_BUNDLE && is_told ? 0 : 1;
    }
    return 2;
}
