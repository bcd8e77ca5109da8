// Shows that nstopt.hpp is C++17: compiles with -Wpedantic -Werror, and gets an error as an exception.
#include <cstring>
#include <nstopt.hpp>

int main() {
    try {
        nstopt::Engine engine("/no/such/bundle");
    } catch (const nstopt::Exception &error) {
        const bool names_folder = std::strstr(error.what(), "/no/such/bundle: no such folder") != nullptr;
        return error.status() == NSTOPT_BAD_BUNDLE && names_folder ? 0 : 1;
    }
    return 2;
}
