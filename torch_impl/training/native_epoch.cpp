// A whole epoch of the network's training on the CPU: forward, backward and Keras's Adam for
// every batch, with the dropout masks of TensorFlow's random stream made as they are needed.
//
// Compiled at first use for the sizes and the dtype that network.h names. A tile of rows goes
// forward and back while it is in the first-level cache.

#include <cstdint>

#include "network.h"
#include "philox.h"

namespace {

constexpr int BUCKETS = 199;

// What a pass adds up. Counts are at probability > 0.5; a bucket holds the rows, by label,
// between two of the 200 thresholds of `keras.metrics.AUC`.
struct Sums {
    double loss, weighted_loss, squared_error;
};
struct Totals : Sums {
    int64_t tp, fp, tn, fn;
    int64_t buckets[2][BUCKETS];
};

struct alignas(64) Tile {
    Lane hidden[TILE][LANES], dhidden[TILE][LANES];
    Real logit[TILE], probability[TILE], loss[TILE], dlogit[TILE];
    uint32_t words[TILE * H];
};

inline float round_up(float x) { return __builtin_ceilf(x); }
inline double round_up(double x) { return __builtin_ceil(x); }
inline float root(float x) { return __builtin_sqrtf(x); }
inline double root(double x) { return __builtin_sqrt(x); }
inline float power(float x, float n) { return __builtin_powf(x, n); }
inline double power(double x, double n) { return __builtin_pow(x, n); }

inline double log1p_unit(double e) { return __builtin_log1p(e); }

// log(1 + e) for e in [0, 1] as 2 atanh(e / (2 + e)), whose series needs eight terms there.
inline float log1p_unit(float e) {
    const float s = e / (2.0f + e), q = s * s;
    float p = 1.0f / 15;
    for (int odd = 13; odd >= 3; odd -= 2) p = p * q + 1.0f / odd;
    return 2.0f * (p * q * s + s);
}

// Logits, probabilities and losses (binary cross-entropy from logits).
void forward_output(const Real *y, int rows, const Weights &w, Tile &t) {
    forward_logits(t.hidden, rows, w, t.logit);
    for (int r = 0; r < rows; ++r) {
        const Real z = t.logit[r], e = exp_negative(-absolute(z));
        t.probability[r] = sigmoid(z, e);
        t.loss[r] = (most(z, Real(0)) - z * y[r]) + log1p_unit(e);
    }
}

// N features at once: N * LANES independent sums over the tile's rows, kept in registers.
template <int N>
void backward_kernel1(const Real *x, int rows, const Tile &t, Lane (*gradient)[LANES]) {
    Lane sum[N][LANES] = {};
    for (int r = 0; r < rows; ++r)
#pragma GCC unroll 8
        for (int i = 0; i < N; ++i)
#pragma GCC unroll 8
            for (int j = 0; j < LANES; ++j) sum[i][j] += x[r * F + i] * t.dhidden[r][j];
    for (int i = 0; i < N; ++i)
        for (int j = 0; j < LANES; ++j) gradient[i][j] += sum[i][j];
}

void backward(const Real *x, int rows, const Weights &w, Real scale, Tile &t, Weights &g) {
    Lane kernel2[LANES] = {}, bias1[LANES] = {};
    Real bias2 = 0;
    for (int r = 0; r < rows; ++r) {
        bias2 += t.dlogit[r];
        for (int j = 0; j < LANES; ++j) {
            const Lane h = t.hidden[r][j], d = t.dlogit[r] * w.kernel2[j] * scale;
            t.dhidden[r][j] = h <= 0 ? Lane{} : d;  // dropped or below the ReLU's bend; a NaN is neither
            kernel2[j] += h * t.dlogit[r];
            bias1[j] += t.dhidden[r][j];
        }
    }
    g.bias2 += bias2;
    for (int j = 0; j < LANES; ++j) g.kernel2[j] += kernel2[j], g.bias1[j] += bias1[j];
    int i = 0;
    for (; i + 4 <= F; i += 4) backward_kernel1<4>(x + i, rows, t, g.kernel1 + i);
    for (; i < F; ++i) backward_kernel1<1>(x + i, rows, t, g.kernel1 + i);
}

void add_up(const Real *y, const Real *weight, int rows, bool metrics, const Tile &t, Sums &batch, Totals &s) {
    double loss = 0, weighted = 0, squared = 0;
    for (int r = 0; r < rows; ++r) loss += t.loss[r];
    for (int r = 0; weight && r < rows; ++r) weighted += weight[r] * t.loss[r];
    batch.loss += loss;
    batch.weighted_loss += weight ? weighted : loss;
    if (!metrics) return;
    int tp = 0, predicted = 0, positive = 0;
    int32_t bucket[TILE];
    for (int r = 0; r < rows; ++r) {
        const Real p = t.probability[r], error = p - y[r];
        squared += error * error;
        tp += p > Real(0.5) && y[r] > 0;
        predicted += p > Real(0.5);
        positive += y[r] > 0;
        bucket[r] = int32_t(most(Real(0), round_up(p * BUCKETS) - Real(1)));  // 0 for a NaN
    }
    for (int r = 0; r < rows; ++r) ++s.buckets[y[r] > 0][bucket[r]];
    batch.squared_error += squared;
    s.tp += tp, s.fp += predicted - tp, s.fn += positive - tp, s.tn += rows - predicted - positive + tp;
}

// What is small is added up first, batch by batch, so that little of it is rounded off.
void add_up(const Sums &batch, Totals &s) {
    s.loss += batch.loss, s.weighted_loss += batch.weighted_loss, s.squared_error += batch.squared_error;
}

struct Adam { Real learning_rate, beta1, beta2, one_minus_beta1, one_minus_beta2, epsilon; };

// Keras's order of float32 operations (keras/src/optimizers/adam.py).
void adam_step(const Adam &a, int64_t t, Weights &weights, Weights &momentum, Weights &velocity, Weights &gradient) {
    const Real alpha = a.learning_rate * root(1 - power(a.beta2, Real(t))) / (1 - power(a.beta1, Real(t)));
    Real *w = weights.flat(), *m = momentum.flat(), *v = velocity.flat();
    const Real *g = gradient.flat();
    for (int i = 0; i < WEIGHTS; ++i) {
        m[i] += (g[i] - m[i]) * a.one_minus_beta1;
        v[i] += (g[i] * g[i] - v[i]) * a.one_minus_beta2;
        w[i] -= m[i] * alpha / (root(v[i]) + a.epsilon);
    }
}

}  // namespace

extern "C" {

// Trains on rows 0 … n - 1 in order, `batch` at a time. `weights`, `momentum` and `velocity`
// (WEIGHTS numbers each) are updated; `iterations` is how many steps came before; `weight` may
// be null. `streams` holds key and upper counter words of each step's dropout stream; a unit
// is kept where the mantissa (bits >> shift_right after << shift_left) is >= threshold.
void train_epoch(const Real *x, const Real *y, const Real *weight, int64_t n, int64_t batch, Real *weights,
                 Real *momentum, Real *velocity, int64_t iterations, const Adam *adam, const uint32_t *streams,
                 int shift_left, uint32_t threshold, Real scale, int metrics, Totals *totals) {
    Weights w, m, v;
    __builtin_memcpy(&w, weights, WEIGHTS * sizeof(Real));
    __builtin_memcpy(&m, momentum, WEIGHTS * sizeof(Real));
    __builtin_memcpy(&v, velocity, WEIGHTS * sizeof(Real));
    Tile t;
    for (int64_t start = 0; start < n; start += batch, ++iterations, streams += 4) {
        const int64_t batch_rows = least(batch, n - start);
        const Real inverse = Real(1) / Real(batch_rows);
        Weights g = {};
        Sums sums = {};
        for (int64_t at = 0; at < batch_rows; at += TILE) {
            const int rows = int(least<int64_t>(TILE, batch_rows - at));
            const Real *tile_x = x + (start + at) * F, *tile_y = y + start + at;
            const Real *tile_weight = weight ? weight + start + at : nullptr;
            forward_hidden(tile_x, rows, w, t.hidden);
            if (threshold) {
                philox(t.words, rows * H / 4, uint64_t(at) * H / 4, streams, streams + 2);
                Real *h = reinterpret_cast<Real *>(t.hidden);
                for (int i = 0; i < rows * H; ++i)
                    h[i] = (t.words[i] << shift_left) >> 9 >= threshold ? h[i] * scale : Real(0);
            }
            forward_output(tile_y, rows, w, t);
            for (int r = 0; r < rows; ++r) t.dlogit[r] = (t.probability[r] - tile_y[r]) * inverse;
            for (int r = 0; tile_weight && r < rows; ++r) t.dlogit[r] *= tile_weight[r];
            backward(tile_x, rows, w, scale, t, g);
            add_up(tile_y, tile_weight, rows, metrics, t, sums, *totals);
        }
        add_up(sums, *totals);
        adam_step(*adam, iterations + 1, w, m, v, g);
    }
    __builtin_memcpy(weights, &w, WEIGHTS * sizeof(Real));
    __builtin_memcpy(momentum, &m, WEIGHTS * sizeof(Real));
    __builtin_memcpy(velocity, &v, WEIGHTS * sizeof(Real));
}

// Adds up all metrics of n rows without dropout.
void evaluate(const Real *x, const Real *y, int64_t n, const Real *weights, Totals *totals) {
    Weights w;
    __builtin_memcpy(&w, weights, WEIGHTS * sizeof(Real));
    Tile t;
    Sums sums = {};
    for (int64_t at = 0; at < n; at += TILE) {
        const int rows = int(least<int64_t>(TILE, n - at));
        forward_hidden(x + at * F, rows, w, t.hidden);
        forward_output(y + at, rows, w, t);
        add_up(y + at, nullptr, rows, true, t, sums, *totals);
        if (at / TILE % TILE == TILE - 1 || at + TILE >= n) add_up(sums, *totals), sums = {};
    }
}
}
