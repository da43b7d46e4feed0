// The network's forward pass on the CPU, for a source compiled with -DFEATURES=, -DHIDDEN= and
// -DTILE=, the rows of a tile, so that every loop has a fixed length, and with -DREAL=float or
// double, which is what weights and rows are of and what all is computed in. Eight hidden units share a vector (a GCC and Clang
// extension).

#include <cstdint>

namespace {

constexpr int F = FEATURES, H = HIDDEN;
constexpr int WEIGHTS = F * H + H + H + 1;
constexpr int LANES = H / 8;
static_assert(H % 8 == 0, "the hidden layer is computed in groups of eight units");
typedef REAL Real;
typedef Real Lane __attribute__((vector_size(8 * sizeof(Real))));

template <class T> inline T least(T a, T b) { return b < a ? b : a; }
template <class T> inline T most(T a, T b) { return a < b ? b : a; }  // a NaN a stays

// Weights, their gradient or an Adam moment: `kernel, bias, kernel, bias`, Keras's layout.
struct alignas(64) Weights {
    Lane kernel1[F][LANES], bias1[LANES], kernel2[LANES];
    Real bias2;
    Real *flat() { return reinterpret_cast<Real *>(this); }
    const Real *flat() const { return reinterpret_cast<const Real *>(this); }
};
static_assert(sizeof(Weights) >= WEIGHTS * sizeof(Real));

// exp(x) for x <= 0 to about 1 ULP (Cephes's expf), in a form that compilers vectorise. Where it is
// less than half of the smallest normal number it is 0.
inline float exp_negative(float x) {
    x = most(x, -88.0f);
    const float n = __builtin_floorf(x * 1.44269504f + 0.5f);
    const float r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
    float q = 1.9875691500e-4f;
    q = q * r + 1.3981999507e-3f;
    q = q * r + 8.3334519073e-3f;
    q = q * r + 4.1665795894e-2f;
    q = q * r + 1.6666665459e-1f;
    q = q * r + 5.0000001201e-1f;
    const uint32_t bits = uint32_t(int32_t(n) + 127) << 23;
    float power;
    __builtin_memcpy(&power, &bits, 4);
    return (q * (r * r) + r + 1.0f) * power;
}

// The library's, where float32 has not digits enough.
inline double exp_negative(double x) { return __builtin_exp(x); }

inline float absolute(float x) { return __builtin_fabsf(x); }
inline double absolute(double x) { return __builtin_fabs(x); }

// ROWS rows at once: their chains of multiply-adds are independent and share the weights'
// loads. Each chain takes the features in order, as TensorFlow does.
template <int ROWS>
void forward_hidden(const Real *x, const Weights &w, Lane (*hidden)[LANES]) {
    Lane sum[ROWS][LANES] = {};
    for (int i = 0; i < F; ++i)
#pragma GCC unroll 8
        for (int r = 0; r < ROWS; ++r)
#pragma GCC unroll 8
            for (int j = 0; j < LANES; ++j) sum[r][j] += x[r * F + i] * w.kernel1[i][j];
    for (int r = 0; r < ROWS; ++r)
        for (int j = 0; j < LANES; ++j) {
            const Lane z = sum[r][j] + w.bias1[j];
            hidden[r][j] = z < 0 ? Lane{} : z;  // a NaN stays one
        }
}

void forward_hidden(const Real *x, int rows, const Weights &w, Lane (*hidden)[LANES]) {
    int r = 0;
    for (; r + 4 <= rows; r += 4) forward_hidden<4>(x + r * F, w, hidden + r);
    for (; r < rows; ++r) forward_hidden<1>(x + r * F, w, hidden + r);
}

void forward_logits(const Lane (*hidden)[LANES], int rows, const Weights &w, Real *logit) {
    for (int r = 0; r < rows; ++r) {
        Lane sum = {};
        for (int j = 0; j < LANES; ++j) sum += hidden[r][j] * w.kernel2[j];
        logit[r] = ((sum[0] + sum[4]) + (sum[2] + sum[6])) + ((sum[1] + sum[5]) + (sum[3] + sum[7])) + w.bias2;
    }
}

// 1 / (1 + exp(-z)), from e = exp(-|z|).
inline Real sigmoid(Real z, Real e) {
    const Real q = Real(1) / (Real(1) + e);
    return z < 0 ? e * q : q;
}

}  // namespace
