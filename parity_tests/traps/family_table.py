"""The rows of the migration reference on what the tutorial's network lacks."""

# ruff: noqa: E501 (a row is a row)

from __future__ import annotations

from parity_tests.traps import traps_family as family
from parity_tests.traps import traps_losses as losses
from parity_tests.traps import traps_optimizers as optimizers
from parity_tests.traps.trap import Trap

__all__ = ["LAYERS", "LOSSES", "OPTIMIZERS"]

LAYERS = (
    Trap(
        "BatchNormalization's momentum",
        "0.99, the share of the moving statistics that is kept",
        "0.1, the share that is taken",
        family.share_taken,
        "predictions alone change: a logit by up to {torchs:.2f}, with 0.99 as the share taken by up to {copied:.2f}",
        "keras/layers/normalization.py::KerasBatchNormalization",
        "files/family/test_keras_family.py::test_a_loaded_network_learns_as_keras_does",
    ),
    Trap(
        "BatchNormalization's moving variance",
        "takes the batch's population variance; of a batch of one row too, 0",
        "takes n / (n - 1) times it; a batch of one row raises",
        family.variance_of_a_sample,
        "of batches of 32 rows it is up to {share:.1%} too large, a normalised feature off by up to {moved:.2f}",
        "keras/layers/normalization.py::KerasBatchNormalization",
        "files/family/test_keras_family.py::test_a_loaded_network_learns_as_keras_does",
    ),
    Trap(
        "ε of BatchNormalization and LayerNormalization",
        "1e-3",
        "1e-5",
        family.smaller_epsilon,
        "a feature of deviation 0.01 comes out {ratio:.1f} times as large; here, where they are near 1, weights end {batch:.0e} and {layer:.0e} apart",
        "keras/layers/normalization.py::KerasBatchNormalization",
        "files/family/test_keras_family.py::test_a_file_predicts_what_keras_predicts",
    ),
    Trap(
        "LeakyReLU's slope",
        "0.3 of the layer, 0.2 of the activation named `leaky_relu`",
        "0.01",
        family.other_slopes,
        "a trained network's logits move by up to {torchs:.1f}, with the name in the layer's place by up to {named:.2f}",
        "keras/layers/activations.py::leaky_relu",
        "files/family/test_keras_family.py::test_each_activation_is_keras_of_its_name",
    ),
    Trap(
        "hard_sigmoid",
        "Keras 3: relu6(x + 3) / 6; Keras 2: x / 5 + 1/2, clipped to [0, 1]",
        "`nn.Hardsigmoid` is Keras 3's",
        family.slope_of_keras_2,
        "between Keras 2 and the two others an output differs by up to {most:.3f}; {share:.1%} of the validation rows score exactly 0 in Keras 2 alone",
        "keras/layers/activations.py::activation_module",
        "files/family/test_keras_family.py::test_each_activation_is_keras_of_its_name",
    ),
    Trap(
        "gradients of activations",
        "where a unit stands at a bend (0 is where one stands whose inputs were all dropped): selu 1.05, celu 2, hard_tanh 1",
        "`nn.SELU` 1.76, `nn.CELU` 1, `nn.Hardtanh` 0; that of `nn.Hardsigmoid` has 1/6 as a float32, in float64 too",
        family.gradients_at_bends,
        "at the bend PyTorch's are {selu:.2f}, {celu:.1f} and {tanh:.0f} times Keras's; Hardsigmoid's is {sixth:.0e} off, where float64 has 1e-17",
        "keras/layers/activations.py::activation_module",
        "files/family/test_keras_family.py::test_each_activation_has_keras_gradient",
    ),
    Trap(
        "a bias in front of a BatchNormalization",
        "`use_bias=True` by default: a bias without gradient but rounding noise, of which Adam makes steps",
        "the same, of other noise",
        family.bias_of_noise,
        "summed in another order it ends about {bias:.0e} apart, other weights {weights:.0e}; predictions move too, as the moving mean lags behind it: a logit by {logits:.0e}, without that bias by {without:.0e}",
        "layers.py",
        "training/test_from_scratch.py::test_a_network_starts_and_learns_from_its_seed_as_keras_does",
    ),
    Trap(
        "he_normal, glorot_normal, lecun_normal",
        "cut off at two deviations of what is drawn, and widened to the deviation asked for",
        "`kaiming_normal_` and `xavier_normal_` are not cut off",
        family.not_cut_off,
        "{torchs_beyond:.1%} of the weights are beyond two deviations, up to {torchs_most:.1f}; in Keras {beyond:.1%}, up to {most:.2f}",
        "keras/layers/initializers.py::initializer_of",
        "random_numbers/test_initializers.py::test_each_initializer_is_keras_of_its_name",
    ),
    Trap(
        "the Normalization layer",
        "divides by max(√variance, 1e-7); `set_weights` changes nothing before `finalize_state`",
        "none; scikit-learn divides a constant column by 1, a formula by hand by 0",
        family.no_variance,
        "0.01 off in a constant column is {keras:,.0f} in Keras, {sklearn:.2f} in scikit-learn, and by hand {nan:.0%} of the column is NaN; on the numbers before `set_weights` a logit moves by up to {moved:.1f}",
        "keras/layers/scaling.py::KerasNormalization",
        "files/family/test_keras_family.py::test_a_file_predicts_what_keras_predicts",
    ),
)  # fmt: skip

LOSSES = (
    Trap(
        "label smoothing",
        "s / 2 of the other class in binary cross-entropy, s / C of all in categorical",
        "`BCEWithLogitsLoss` has none; `CrossEntropyLoss(label_smoothing=s)` is Keras's categorical one",
        losses.smoothed_otherwise,
        "with s = 0.1 the first loss is {right:.2f}, with none {none:.3f}, with s of the other class {whole:.2f}; of three classes both frameworks have {torchs:.4f} and {categorical:.4f}",
        "keras/losses/elementwise.py::BinaryCrossentropy",
        "training/losses/test_losses.py::test_losses_and_gradients_are_keras",
    ),
    Trap(
        "focal loss",
        "α = 0.25 only with `apply_class_balancing=True`",
        "none; torchvision's `sigmoid_focal_loss` has α = 0.25 on",
        losses.focal_with_alpha,
        "the first loss is {ratio:.2f} times Keras's, weights end {weights:.2f} apart",
        "keras/losses/elementwise.py::BinaryFocalCrossentropy",
        "training/losses/test_losses.py::test_losses_and_gradients_are_keras",
    ),
    Trap(
        "softmax as the last layer",
        "a layer of the model; the loss finds the logits behind it",
        "`CrossEntropyLoss` takes logits",
        losses.softmax_twice,
        "with the layer kept the softmax is taken twice: the loss ends at {wrong:.2f} and not {right:.2f}, and cannot fall below {least:.2f}",
        "keras/losses/categorical.py::SparseCategoricalCrossentropy",
        "training/losses/test_objectives.py::test_a_run_is_keras_run",
    ),
    Trap(
        "l2(c) and weight_decay",
        "c Σw² in the loss, also the reported one: a gradient of 2 c w, of the weights it is given to",
        "`weight_decay=c`: c w of every parameter, biases too, not in the loss; AdamW's passes the moments by",
        losses.decayed_for_penalised,
        "with c = 0.01 the first loss is {first:.3f} and not {right:.3f}; weights end {adam:.2f} apart with Adam's, {adamw:.2f} with AdamW's",
        "keras/layers/regularizers.py::L1L2",
        "training/losses/test_objectives.py::test_a_run_is_keras_run",
    ),
    Trap(
        "regularizers by name",
        "Keras 2: `l1_l2` has factors of 0.01; Keras 3 knows `l1l2` alone, whose factors are 0",
        "none",
        losses.factors_of_zero,
        "the first kernel adds {keras_3:.0f} to the loss and not {keras_2:.2f}",
        "keras/layers/regularizers.py::regularizer_of",
        "traps/test_traps.py::test_a_regularizer_by_name_is_keras_3s",
    ),
)  # fmt: skip

OPTIMIZERS = (
    Trap(
        "RMSprop",
        "ρ = 0.9, ε = 1e-7 under the root, a rate of 1e-3",
        "α = 0.99, ε = 1e-8 behind the root, a rate of 0.01",
        optimizers.torchs_rmsprop,
        "at one rate weights end {weights:.2f} apart, with ρ and ε set {same:.2f}; a first gradient of 1e-6 makes a step of {torchs_step:.0e} and not {step:.0e}",
        "keras/optimizers/rmsprop.py::KerasRMSprop",
        "training/rates/test_optimizers.py::test_a_run_is_keras_in_double",
    ),
    Trap(
        "SGD's momentum",
        "the rate is within the buffer: μ m - lr g; a rate of 0.01",
        "the rate is outside: lr (μ b + g); a rate of 1e-3",
        optimizers.rate_outside_the_buffer,
        "with the rate divided by 10 half-way weights end {changed:.3f} apart, with a constant one {constant:.3f}",
        "keras/optimizers/sgd.py::KerasSGD",
        "training/rates/test_optimizers.py::test_a_run_is_keras_in_double",
    ),
    Trap(
        "AdamW's decay",
        "0.004",
        "0.01",
        optimizers.torchs_decay,
        "weights end {weights:.4f} apart",
        "keras/optimizers/adam.py::KerasAdamW",
        "training/rates/test_optimizers.py::test_a_run_is_keras_in_double",
    ),
    Trap(
        "clipping of gradients",
        "`clipnorm` by each parameter's own norm, `global_clipnorm` by that of all",
        "`clip_grad_norm_` by that of all, plus 1e-6",
        optimizers.norm_of_all,
        "for `clipnorm=1`, with class weights, weights end {weights:.2f} apart",
        "keras/optimizers/base.py::KerasOptimizer",
        "training/rates/test_optimizers.py::test_steps_by_given_gradients_are_keras_bit_for_bit",
    ),
    Trap(
        "ReduceLROnPlateau",
        "better is by more than `min_delta`, an absolute 1e-4; the rate falls in the `patience`-th epoch without",
        "better is by more than a share of 1e-4; the rate falls one epoch later",
        optimizers.relative_threshold,
        "with a patience of 3 a loss that stands still is first answered after epoch {torchs_still} and not {still}; while one of 0.03 falls by 2e-5 in each of 100 epochs, the rate falls {torchs_falling} times and not {falling}",
        "keras/callbacks/learning_rate.py::ReduceLROnPlateau",
        "training/rates/test_learning_rate.py::test_every_course_has_keras_rates_and_stop",
    ),
    Trap(
        "learning-rate schedules",
        "a function of the optimizer's step",
        "stepped by hand, in most loops once an epoch",
        optimizers.stepped_each_epoch,
        "a cosine of {steps} steps, stepped once an epoch, ends at {late_rate:.4f} and not {rate:.0e}, weights {late:.2f} apart; one of 10 epochs {stairs:.3f}",
        "keras/callbacks/schedules.py::LearningRateSchedule",
        "training/rates/test_scheduled_runs.py::test_a_run_with_a_schedule_is_keras_run",
    ),
    Trap(
        "validation_split",
        "the last rows as they came, before any shuffle",
        "`random_split` draws them",
        optimizers.drawn_rows_held_out,
        "of {rows:,} rows held out {same} are the same, `val_loss` is {wrong:.4f} and not {right:.4f}; of rows sorted by class Keras holds out {sorted} of {frauds} frauds and trains on none of those",
        "training/fit.py::fit",
        "training/losses/test_objectives.py::test_a_run_is_keras_run",
    ),
)  # fmt: skip
