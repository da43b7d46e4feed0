// Features of raw rows in one pass over memory, see scaling.h.

#include "scaling.h"

extern "C" {

void scale_to_float(const Scaling *s, const double *x, const double *logarithms, int64_t rows, float *features) {
    scale(*s, x, logarithms, rows, features);
}

void scale_to_double(const Scaling *s, const double *x, const double *logarithms, int64_t rows, double *features) {
    scale(*s, x, logarithms, rows, features);
}
}
