// A whole epoch of the network's training on the CPU: forward, backward and Keras's Adam for
// every batch, with the dropout masks of TensorFlow's random stream made as they are needed.
//
// Compiled at first use for the sizes and the dtype that network.h names. A tile of rows goes
// forward and back while it is in the first-level cache. What the tiles of a batch give is added up
// in the order of a binary tree over them, whoever computes them: threads and processes may share
// out its subtrees, and the bits stay the same.

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

// What the rows of a subtree give.
struct alignas(64) Slot {
    Weights gradient;
    Sums sums;
};

void add(const Sums &left, const Sums &right, Sums &sum) {
    sum = {left.loss + right.loss, left.weighted_loss + right.weighted_loss, left.squared_error + right.squared_error};
}

void add(const Slot &left, const Slot &right, Slot &sum) {
    const Real *l = left.gradient.flat(), *r = right.gradient.flat();
    Real *s = sum.gradient.flat();
    for (int i = 0; i < WEIGHTS; ++i) s[i] = l[i] + r[i];
    add(left.sums, right.sums, sum.sums);
}

constexpr int LEVELS = 48;  // of a tree

// Neighbours are added up two by two, then their sums, and so on; one that is left over goes up as
// it is. `leaf(i, room)` tells where the i-th of `leaves` is, in the room or elsewhere. `part` has
// room for LEVELS sums.
template <class Sum, class Leaf>
void tree(int64_t leaves, Leaf leaf, Sum *part, Sum &root) {
    const Sum *waiting[LEVELS];  // for the right neighbour, on each level
    for (int64_t i = 0; i < leaves; ++i) {
        const Sum *sum = leaf(i, i % 2 || leaves == 1 ? root : part[0]);
        int level = 0;
        for (; i >> level & 1; ++level) {
            Sum &room = i >> (level + 1) & 1 ? root : part[level + 1];
            add(*waiting[level], *sum, room);
            sum = &room;
        }
        waiting[level] = sum;
    }
    int level = __builtin_ctzll(uint64_t(leaves));
    const Sum *sum = waiting[level];
    while (leaves >> ++level)
        if (leaves >> level & 1) add(*waiting[level], *sum, root), sum = &root;
    if (sum != &root) root = *sum;
}

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
        for (int j = 0; j < LANES; ++j) gradient[i][j] = sum[i][j];
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
    g.bias2 = bias2;
    for (int j = 0; j < LANES; ++j) g.kernel2[j] = kernel2[j], g.bias1[j] = bias1[j];
    int i = 0;
    for (; i + 4 <= F; i += 4) backward_kernel1<4>(x + i, rows, t, g.kernel1 + i);
    for (; i < F; ++i) backward_kernel1<1>(x + i, rows, t, g.kernel1 + i);
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

// Which subtrees of a batch this process computes: `first` to `end`, of 2^level tiles each, of `count`.
struct Share { int64_t level, first, end, count; };

// What an epoch is. Threads take its slots one by one from `claim`, which holds the step and the
// next slot; none waits for another but for slots that it has taken.
struct Job {
    // This process's rows of each batch, one batch after the other. `weight` may be null.
    const Real *x, *y, *weight;
    int64_t rows, batch;  // of the epoch and of a batch, of all processes
    Share full, last;     // of a batch, and of the last one
    Weights *weights, *momentum, *velocity;
    int64_t iterations;  // steps that came before
    int64_t training;    // or one batch of all rows is measured, without dropout
    const Adam *adam;
    // Key and upper counter words of each step's dropout stream; a unit is kept where the mantissa
    // (bits >> shift_right after << shift_left) is >= threshold, and scaled.
    const uint32_t *streams;
    const Real *scale;
    int64_t shift_left, threshold, metrics;
    Slot *slots;     // room for all of a batch
    Slot *parts;     // LEVELS for each thread
    Totals *totals;  // one for each thread
    int (*exchange)(int64_t);  // fills the other processes' slots in; null where there are none
    // The batch at hand, and how many rows of this process came before it.
    const Share *share;
    int64_t batch_rows, offset;
    int64_t apart0[8];  // what threads write lies on lines of the cache of its own
    uint64_t claim;
    int64_t apart1[8], done;
};

constexpr uint64_t OVER = ~uint64_t(0);

inline int64_t tiles_of(int64_t rows) { return (rows + TILE - 1) / TILE; }

// A tile's rows among this process's, and the place of the first in the batch.
struct Rows {
    const Real *x, *y, *weight;
    int64_t at;
    int count;
};
Rows rows_of(const Job &job, int64_t tile) {
    const int64_t at = tile * TILE, here = job.offset + at - (job.share->first << job.share->level) * TILE;
    return {job.x + here * F, job.y + here, job.weight ? job.weight + here : nullptr, at,
            int(least<int64_t>(TILE, job.batch_rows - at))};
}

void drop(const Job &job, const Rows &rows, Tile &t) {
    philox(t.words, rows.count * H / 4, uint64_t(rows.at) * H / 4, job.streams, job.streams + 2);
    const Real scale = *job.scale;
    Real *h = reinterpret_cast<Real *>(t.hidden);
    for (int i = 0; i < rows.count * H; ++i)
        h[i] = (t.words[i] << job.shift_left) >> 9 >= uint32_t(job.threshold) ? h[i] * scale : Real(0);
}

void measure(const Rows &of, bool metrics, const Tile &t, Sums &sums, Totals &counts) {
    const Real *y = of.y, *weight = of.weight;
    const int rows = of.count;
    double loss = 0, weighted = 0, squared = 0;
    for (int r = 0; r < rows; ++r) loss += t.loss[r];
    for (int r = 0; weight && r < rows; ++r) weighted += weight[r] * t.loss[r];
    sums.loss = loss;
    sums.weighted_loss = weight ? weighted : loss;
    sums.squared_error = 0;
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
    for (int r = 0; r < rows; ++r) ++counts.buckets[y[r] > 0][bucket[r]];
    sums.squared_error = squared;
    counts.tp += tp, counts.fp += predicted - tp, counts.fn += positive - tp;
    counts.tn += rows - predicted - positive + tp;
}

// One subtree of the batch at hand.
void compute(const Job &job, int64_t slot, Tile &t, Slot *part, Totals &counts) {
    const int64_t first = slot << job.share->level;
    const int64_t tiles = least(int64_t(1) << job.share->level, tiles_of(job.batch_rows) - first);
    const Weights &w = *job.weights;
    if (!job.training) {
        Sums sums[LEVELS];
        tree(tiles, [&](int64_t i, Sums &leaf) {
            const Rows rows = rows_of(job, first + i);
            forward_hidden(rows.x, rows.count, w, t.hidden);
            forward_output(rows.y, rows.count, w, t);
            measure(rows, true, t, leaf, counts);
            return &leaf;
        }, sums, job.slots[slot].sums);
        return;
    }
    const Real inverse = Real(1) / Real(job.batch_rows), scale = *job.scale;
    tree(tiles, [&](int64_t i, Slot &leaf) {
        const Rows rows = rows_of(job, first + i);
        forward_hidden(rows.x, rows.count, w, t.hidden);
        if (job.threshold) drop(job, rows, t);
        forward_output(rows.y, rows.count, w, t);
        for (int r = 0; r < rows.count; ++r) t.dlogit[r] = (t.probability[r] - rows.y[r]) * inverse;
        for (int r = 0; rows.weight && r < rows.count; ++r) t.dlogit[r] *= rows.weight[r];
        backward(rows.x, rows.count, w, scale, t, leaf.gradient);
        measure(rows, job.metrics, t, leaf.sums, counts);
        return &leaf;
    }, part, job.slots[slot]);
}

// Computes slots until all of the batch at hand are taken; whether the epoch goes on.
bool take_slots(Job &job, Tile &t, int64_t thread) {
    uint64_t claim = __atomic_load_n(&job.claim, __ATOMIC_ACQUIRE);
    while (claim != OVER && uint32_t(claim) > 0) {
        if (!__atomic_compare_exchange_n(&job.claim, &claim, claim - 1, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
            continue;
        compute(job, job.share->end - uint32_t(claim), t, job.parts + thread * LEVELS, job.totals[thread]);
        __atomic_add_fetch(&job.done, 1, __ATOMIC_RELEASE);
        claim = __atomic_load_n(&job.claim, __ATOMIC_ACQUIRE);
    }
    return claim != OVER;
}

extern "C" int sched_yield();

// A moment's wait; after many the processor is given to others.
inline void wait(int &times) {
    if (++times % 256 == 0) sched_yield();
#if defined(__x86_64__) || defined(__i386__)
    else __builtin_ia32_pause();
#endif
}

}  // namespace

extern "C" {

// Bytes of a slot and of weights, and how many slots each thread's `parts` are.
void epoch_sizes(int64_t *sizes) { sizes[0] = sizeof(Slot), sizes[1] = sizeof(Weights), sizes[2] = LEVELS; }

// Trains on all rows in order, a batch at a time, or measures. Ends where an exchange fails.
void epoch_run(Job *job) {
    Tile t;
    Slot root;
    uint64_t step = 0;
    for (int64_t start = 0; start < job->rows; start += job->batch) {
        const int64_t rows = job->batch_rows = least(job->batch, job->rows - start);
        const Share share = *(job->share = rows < job->batch ? &job->last : &job->full);
        const int64_t own = share.end - share.first;
        __atomic_store_n(&job->done, 0, __ATOMIC_RELAXED);
        __atomic_store_n(&job->claim, ++step << 32 | uint64_t(own), __ATOMIC_RELEASE);
        take_slots(*job, t, 0);
        for (int times = 0; __atomic_load_n(&job->done, __ATOMIC_ACQUIRE) < own;) wait(times);
        if (job->exchange) {
            for (int64_t i = 0; i < share.count; ++i)
                if (i < share.first || i >= share.end) __builtin_memset(job->slots + i, 0, sizeof(Slot));
            if (job->exchange(share.count)) return;
        }
        tree(share.count, [&](int64_t i, Slot &) { return job->slots + i; }, job->parts, root);
        add(*job->totals, root.sums, *job->totals);
        if (job->training) {
            adam_step(*job->adam, ++job->iterations, *job->weights, *job->momentum, *job->velocity, root.gradient);
            job->streams += 4;
        }
        const auto row = [&](int64_t slot) { return least((slot << share.level) * TILE, rows); };
        job->offset += row(share.end) - row(share.first);
    }
}

// Takes part in another thread's run until `epoch_end`.
void epoch_help(Job *job, int64_t thread) {
    Tile t;
    for (int times = 0; take_slots(*job, t, thread);) wait(times);
}

void epoch_end(Job *job) { __atomic_store_n(&job->claim, OVER, __ATOMIC_RELEASE); }
}
