// The order in which Keras's `fit` takes rows, and rows brought into an order.
//
// Both wander through more memory than a cache holds, so each place is asked for some steps
// before it is needed.

#include <cstdint>

#include "philox.h"

namespace {

constexpr int AHEAD = 16, DRAWN = 4096;  // places asked for in advance; words drawn at a time

}  // namespace

extern "C" {

// Makes `order` the permutation of 0 … n - 1 by Fisher and Yates: place i gets one of the n - i
// not yet placed, by word i of the stream with this key and upper counter.
void shuffle(int64_t *order, int64_t n, const uint32_t *key, const uint32_t *upper) {
    uint32_t words[DRAWN];
    int64_t partner[DRAWN];
    for (int64_t i = 0; i < n; ++i) order[i] = i;
    for (int64_t first = 0; first < n - 1; first += DRAWN) {
        const int count = int(n - 1 - first < DRAWN ? n - 1 - first : DRAWN);
        philox(words, DRAWN / 4, uint64_t(first) / 4, key, upper);
        for (int i = 0; i < count; ++i) {
            const uint64_t left = uint64_t(n - first - i);
            partner[i] = first + i + int64_t(left >> 32 ? words[i] : words[i] % uint32_t(left));
        }
        for (int i = 0; i < count; ++i) {
            if (i + AHEAD < count) __builtin_prefetch(order + partner[i + AHEAD], 1);
            const int64_t kept = order[first + i];
            order[first + i] = order[partner[i]];
            order[partner[i]] = kept;
        }
    }
}

// taken[i] = rows[order[i]], rows of `bytes` bytes each.
void take(const char *rows, const int64_t *order, int64_t n, int64_t bytes, char *taken) {
    for (int64_t i = 0; i < n; ++i) {
        if (i + AHEAD < n)
            for (int64_t at = 0; at < bytes + 63; at += 64)
                __builtin_prefetch(rows + order[i + AHEAD] * bytes + (at < bytes ? at : bytes - 1));
        __builtin_memcpy(taken + i * bytes, rows + order[i] * bytes, bytes);
    }
}
}
