// Raw rows to probabilities: a tile of rows becomes features and goes through the network while it
// is in the first-level cache. Compiled at first use for the sizes and the dtype that network.h
// names.

#include <cstdint>

#include "network.h"
#include "scaling.h"

extern "C" {

// Probabilities of n rows; `shift` is added to each logit.
void probabilities(const Scaling *s, const double *x, const double *logarithms, int64_t n, const Real *weights,
                   Real shift, Real *probability) {
    Weights w;
    __builtin_memcpy(&w, weights, WEIGHTS * sizeof(Real));
    alignas(64) Real features[TILE * F];
    alignas(64) Lane hidden[TILE][LANES];
    for (int64_t at = 0; at < n; at += TILE) {
        const int rows = int(least<int64_t>(TILE, n - at));
        scale(*s, x + at * F, logarithms ? logarithms + at : nullptr, rows, features);
        forward_hidden(features, rows, w, hidden);
        Real *out = probability + at;
        forward_logits(hidden, rows, w, out);
        for (int r = 0; r < rows; ++r) {
            const Real z = out[r] + shift;
            out[r] = sigmoid(z, exp_negative(-absolute(z)));
        }
    }
}
}
