// Raw rows to features: (x - mean) / scale, clipped and rounded once, as torch's operations do it
// one after the other.

#include <cstdint>

namespace {

constexpr int ROUND = 8;  // rows at once: their columns fill whole vectors, whatever the width

// What is done to a row of `columns` numbers. `means` and `scales` are of ROUND rows. The
// logarithms of column `logged`, if it is one, come from elsewhere.
struct Scaling {
    const double *means, *scales;
    int64_t columns, logged;
    double clip;
};

// A NaN stays the NaN that it is, as in torch.clamp.
inline double scaled(double x, double mean, double scale, double clip) {
    const double z = (x - mean) / scale, above = z < -clip ? -clip : z;
    return above > clip ? clip : above;
}

// `rows` rows of features; `logarithms` has one number for each.
template <class Feature>
void scale(const Scaling &s, const double *x, const double *logarithms, int64_t rows, Feature *features) {
    const int64_t period = ROUND * s.columns;
    int64_t row = 0;
    for (; row + ROUND <= rows; row += ROUND, x += period) {
        Feature *out = features + row * s.columns;
        for (int64_t i = 0; i < period; ++i) out[i] = Feature(scaled(x[i], s.means[i], s.scales[i], s.clip));
    }
    const int64_t left = (rows - row) * s.columns;
    for (int64_t i = 0; i < left; ++i)
        features[row * s.columns + i] = Feature(scaled(x[i], s.means[i], s.scales[i], s.clip));
    if (s.logged < 0) return;
    const double mean = s.means[s.logged], deviation = s.scales[s.logged];
    for (row = 0; row < rows; ++row)
        features[row * s.columns + s.logged] = Feature(scaled(logarithms[row], mean, deviation, s.clip));
}

}  // namespace
