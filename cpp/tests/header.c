/* Shows that nstopt.h is C11: compiles with -Wpedantic -Werror, and calls the functions that need no bundle. */
#include <nstopt.h>
#include <string.h>

int main(void) {
    nstopt_options options;
    nstopt_engine *engine = NULL;
    if (nstopt_options_init(&options, sizeof options) != NSTOPT_OK || options.struct_size != sizeof options) {
        return 1;
    }
    if (nstopt_load("/no/such/bundle", &options, &engine) != NSTOPT_BAD_BUNDLE || engine != NULL) {
        return 2;
    }
    nstopt_free(engine);
    return strstr(nstopt_last_error(), "/no/such/bundle: no such folder") ? 0 : 3;
}
