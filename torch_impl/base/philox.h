// TensorFlow's random words. Nothing else is included by it: see compiled.py.

#include <cstdint>

namespace {

// Philox4x32-10, as torch_impl/keras/random.py explains it: blocks first, first + 1, ….
void philox(uint32_t *words, int blocks, uint64_t first, const uint32_t *key, const uint32_t *upper) {
    const uint32_t k0 = key[0], k1 = key[1], u0 = upper[0], u1 = upper[1];
    for (int b = 0; b < blocks; ++b) {
        uint32_t c0 = uint32_t(first + b), c1 = uint32_t((first + b) >> 32), c2 = u0, c3 = u1;
#pragma GCC unroll 10
        for (uint32_t round = 0; round < 10; ++round) {
            const uint64_t product0 = uint64_t(0xD2511F53u) * c0, product1 = uint64_t(0xCD9E8D57u) * c2;
            c0 = uint32_t(product1 >> 32) ^ c1 ^ (k0 + round * 0x9E3779B9u);
            c2 = uint32_t(product0 >> 32) ^ c3 ^ (k1 + round * 0xBB67AE85u);
            c1 = uint32_t(product1);
            c3 = uint32_t(product0);
        }
        words[4 * b] = c0;
        words[4 * b + 1] = c1;
        words[4 * b + 2] = c2;
        words[4 * b + 3] = c3;
    }
}

}  // namespace
