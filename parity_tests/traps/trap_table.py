"""The migration reference as data: what differs, what it costs, where it is done right.

The page beside this file shows these rows as `python -m parity_tests.traps --markdown` prints them.
"""

# ruff: noqa: E501 (a row is a row)

from __future__ import annotations

from collections.abc import Mapping

from parity_tests.traps import traps_model as model
from parity_tests.traps import traps_training as training
from parity_tests.traps.family_table import LAYERS, LOSSES, OPTIMIZERS
from parity_tests.traps.trap import Trap
from parity_tests.traps.traps_runtimes import RUNTIMES

__all__ = ["GROUPS", "TRAPS", "markdown", "measurements"]

TUTORIAL = (
    Trap(
        "kernel layout",
        "(in, out)",
        "(out, in): transpose, also where it is square",
        model.kernel_reshaped,
        "reshaped to fit, a trained model's PR AUC falls from {right:.2f} to {wrong:.3f}",
        "keras/weights.py::load_keras_weights",
        "forward/test_weights.py::test_kernels_are_transposed_and_biases_are_not",
    ),
    Trap(
        "start of the weights",
        "Glorot-uniform kernels, zero biases",
        "`nn.Linear`: uniform ±1/√fan_in for both",
        model.torchs_initial_weights,
        "the first kernel starts {ratio:.1f} times too small; weights end {weights:.1f} apart",
        "model.py::FraudClassifier.reset_parameters",
        "forward/test_model.py::test_parameters_start_as_in_keras",
    ),
    Trap(
        "prior bias",
        "the tutorial sets log(pos/neg)",
        "uniform ±1/√fan_in, around 0",
        model.no_prior,
        "with 0 the first batch's loss is {first:.2f} and not {right:.3f}, PR AUC at the end {auc:.2f} and not {auc_right:.2f}",
        "model.py::prior_log_odds",
        "tutorial/test_argument.py::test_prior_bias_shifts_every_logit_by_exactly_itself",
    ),
    Trap(
        "the tutorial's model without prior",
        "`bias_initializer=None` is not zero: the bias is drawn Glorot-uniform",
        "`output_bias=None` is zero",
        model.bias_none,
        "seed 42 draws {bias:.2f}: every row starts near a probability of {probability:.2f}",
        "keras/random.py::glorot_uniform",
        "random_numbers/test_random_layers.py::test_bias_without_initializer_draws_after_all_layers_are_made",
    ),
    Trap(
        "one seed for everything",
        "`set_random_seed`: each layer made without a seed draws one from Python's `random`; `Dropout(0)` draws none",
        "`torch.manual_seed`: one generator for all",
        model.torchs_seed,
        "of {weights} kernel weights that the same seed draws, {equal} are equal",
        "keras/random.py::layer_seeds",
        "random_numbers/test_random_layers.py::test_layer_seeds_are_what_new_layers_draw",
    ),
    Trap(
        "sigmoid as the last layer",
        "a layer of the model; the loss finds the logits behind it",
        "the model gives logits for `BCEWithLogitsLoss`",
        training.logits_through_a_sigmoid_twice,
        "with the layer kept the sigmoid is taken twice: the first loss is {loss:.2f} and not {right:.3f}",
        "model.py::FraudClassifier.forward",
        "forward/test_model.py::test_forward_gives_logits_and_predict_proba_their_sigmoid",
    ),
    Trap(
        "dropout in prediction",
        "`predict` and `evaluate` never drop",
        "on until `model.eval()`",
        model.left_in_training_mode,
        "without `eval()` a validation logit is off by up to {moved:.1f}",
        "model.py::FraudClassifier.predict_proba",
        "forward/test_model.py::test_predict_proba_never_drops_units_and_leaves_the_mode_alone",
    ),
    Trap(
        "standard deviation",
        "scikit-learn's: population (ddof 0), 1 for a constant column",
        "`Tensor.std` divides by n - 1",
        model.sample_deviation,
        "features move by up to {by:.0e}",
        "features.py::FeatureTransform.fit",
        "forward/test_features.py::test_constant_columns_get_scale_one_as_in_sklearn",
    ),
    Trap(
        "dtype of features",
        "float64 rows are cast to float32 with nothing said",
        "float64 rows beside float32 weights raise; so rows are rounded too early",
        model.float32_features,
        "scaled in float32, {in_ten:.0f} in 10 features move, by up to {by:.0e}",
        "features.py::FeatureTransform.forward",
        "forward/test_features.py::test_fitted_transform_agrees_with_pandas_and_sklearn",
    ),
    Trap(
        "label shape",
        "(N, 1); (N,) raises where metrics are compiled",
        "(N,) beside (N, 1) broadcasts to (N, N) in every formula written by hand",
        training.labels_in_a_row,
        "{rows:,} rows become {pairs:,} pairs: a Brier score of {wrong:.4f} and not {right:.4f}",
        "training/rows.py::column",
        "training/test_rows_given.py::test_rows_of_every_form_train_to_the_same_bits",
    ),
    Trap(
        "clipping of the loss",
        "after a sigmoid layer: in `fit` from the logits, unclipped; on `predict`'s output clipped to 1e-7",
        "`BCELoss` limits log to -100",
        training.clipped_loss,
        "a wrong logit of 20 costs {fit:.0f} in `fit`, {predict:.1f} after `predict`, {bce:.0f} in `BCELoss`, where its gradient is {bce_gradient:.0f} and not {fit_gradient:.0f}",
        "keras/losses/functions.py::binary_crossentropy_from_logits",
        "training/test_keras_parts.py::test_clipped_loss_is_what_keras_computes_from_probabilities",
    ),
    Trap(
        "loss gradient at a logit of 0",
        "1/2 - y",
        "1 - y where the formula is written with `clamp` and `abs`",
        model.logits_of_zero,
        "{share:.0%} of an epoch's rows: all their units were dropped or 0, and the bias starts at 0",
        "keras/losses/functions.py::_CrossEntropyFromLogits.backward",
        "training/test_keras_parts.py::test_loss_has_keras_gradient_at_a_logit_of_zero",
    ),
    Trap(
        "reduction and weights",
        "sum of weight · loss over N; metrics and `val_loss` unweighted",
        "`BCEWithLogitsLoss` as well, but `CrossEntropyLoss(weight=)` divides by the sum of weights",
        training.mean_over_weights,
        "a batch's loss is {least:.2f} to {most:.2f} times Keras's, weights end {weights:.3f} apart",
        "keras/losses/functions.py::mean_loss",
        "training/test_fit.py::test_one_step_agrees_in_every_gradient_moment_and_weight",
    ),
    Trap(
        "class weights",
        "`class_weight={0: …, 1: …}`, both",
        "`pos_weight`, of the positives alone",
        training.positives_weighted_alone,
        "with the ratio of the tutorial's two the loss is {ratio:.2f} times Keras's",
        "keras/losses/functions.py::class_weight_to_sample_weight",
        "training/test_fit.py::test_one_step_agrees_in_every_gradient_moment_and_weight",
    ),
    Trap(
        "Adam's ε",
        "1e-7, added to √v before the correction of bias",
        "1e-8, after it",
        training.torchs_adam,
        "one step at 1e-3 differs by up to {step:.1e}, with ε set to 1e-7 by {same_epsilon:.1e}; weights end {weights:.4f} apart",
        "keras/optimizers/adam.py::KerasAdam._update",
        "training/test_fit.py::test_one_step_agrees_in_every_gradient_moment_and_weight",
    ),
    Trap(
        "Adam's β in float64",
        "βᵗ is float32(β)ᵗ in float64 too: TensorFlow's `cast` of a Python number makes it float32 first; 1 - β of the moments is the number's",
        "βᵗ of the number",
        training.betas_not_rounded,
        "the first step of 1e-3 differs by {step:.1e}; two runs in float64 end {weights:.0e} apart instead of 1e-16",
        "keras/optimizers/adam.py::KerasAdam.alpha",
        "training/test_fit.py::test_a_whole_run_agrees",
    ),
    Trap(
        "dropout masks",
        "a stream of counters: seed, count of training calls, place in the batch",
        "torch's generator",
        training.torchs_dropout,
        "masks agree in {equal:.0%} of units, as coins do; weights end {weights:.2f} apart",
        "keras/layers/dropout.py::KerasDropout",
        "random_numbers/test_random_layers.py::test_dropout_mask_is_keras",
    ),
    Trap(
        "order of rows",
        "`fit(shuffle=True)`: one permutation for all epochs",
        "`DataLoader(shuffle=True)`: a new one in each",
        training.shuffled_anew,
        "weights end {weights:.3f} apart",
        "keras/random.py::shuffle_permutation",
        "random_numbers/test_random_layers.py::test_rows_of_the_full_data_come_in_the_order_that_fit_takes",
    ),
    Trap(
        "where rows lie in memory",
        "each batch is copied to memory of its own",
        "a slice of the rows begins where its first row lies, and `nn.Linear` on the CPU may add up otherwise where that is no multiple of 16 bytes",
        model.rows_off_their_place,
        "the same rows eight bytes later: products in float64 differ in the {decimal}th decimal, so a run by several processes does not have the bits of one",
        "training/epochs.py::Batch.tile",
        "training/processes/test_group_runs.py::test_batches_that_no_number_of_processes_divides",
        recorded={"decimal": 15},
    ),
    Trap(
        "last batch",
        "used, however short",
        "the same, unless `drop_last=True`",
        training.last_batch_dropped,
        "in Keras's order the same {rows} of {of:,} rows are never trained on; weights end {weights:.3f} apart",
        "training/epochs.py::Eager.train",
        "training/test_fit.py::test_a_whole_run_agrees",
    ),
    Trap(
        "loss of an epoch",
        "batches weighted by their rows",
        "none; a mean of batch means is another number",
        training.mean_of_batch_means,
        "off by up to {off:.1%}",
        "training/epochs.py::Eager.train",
        "record/test_recorded.py::test_torch_trains_as_keras_trained",
    ),
    Trap(
        "areas under curves",
        "200 thresholds, interpolated; a threshold is exceeded strictly (`>`)",
        "none; scikit-learn's are exact",
        training.exact_areas,
        "PR AUC {prc:.3f} and exactly {exact_prc:.3f}, ROC AUC {auc:.3f} and {exact_auc:.3f}",
        "keras/metrics.py::metrics_from_sums",
        "training/test_keras_parts.py::test_metrics_over_batches_are_keras",
    ),
    Trap(
        "early stopping",
        "with `restore_best_weights` the best weights are back at the end of every run, stopped or not (Keras 3)",
        "none; a loop that stops keeps its last weights",
        training.last_weights_kept,
        "`val_loss` {kept:.4f} and not {restored:.4f}",
        "keras/callbacks/watching.py::EarlyStopping",
        "record/test_recorded.py::test_early_stopping_stops_and_restores_where_keras_did",
    ),
    Trap(
        "early stopping's comparison",
        "of numbers as float32 holds them, also where the model computes in float64: TensorFlow makes float32 of a Python number",
        "none; Python compares in float64",
        training.improvements_too_small,
        "a loss in float64 that falls by 1e-9 in each epoch stops a run with a patience of 3 after {stopped:.0f} epochs; compared in float64 it never stops",
        "keras/callbacks/watching.py::MonitorCallback._improves",
        "record/test_recorded.py::test_early_stopping_stops_and_restores_where_keras_did",
    ),
    Trap(
        "a NaN feature",
        "`predict` scores the row as sigmoid(output bias): the fused oneDNN layer's ReLU turns NaN into 0",
        "NaN",
        model.hidden_nan,
        "every such row gets the ordinary probability {probability:.4f}",
        "model.py::FraudClassifier.forward",
        "forward/test_forward_properties.py::test_keras_predict_hides_nan_and_torch_shows_it",
    ),
    Trap(
        "subnormal numbers",
        "flushed to zero, in factors too (∞ · 1e-45 is NaN)",
        "kept",
        model.subnormal,
        "the probability at a logit of -88 is {kept:.0e} and in Keras 0",
        "model.py::FraudClassifier.predict_proba",
        "forward/test_forward_properties.py::test_non_finite_features_give_the_same_non_finite_stages",
    ),
    Trap(
        "sigmoid in float32",
        "within 6.58 ULP, 0 below 2⁻¹²⁶ (all 2³² inputs: `python -m parity_tests.judge.sigmoid`)",
        "within 2.49 ULP",
        model.keras_sigmoid,
        "Keras's recorded probabilities err by up to {ulp:.2f} ULP: compare logits",
        "model.py::FraudClassifier.predict_proba",
        "judge/test_sigmoid.py::test_sigmoid_errs_less_than_its_stated_ulp",
    ),
    Trap(
        "TF32",
        "TensorFlow uses it on GPUs that have it",
        "off for matrix products, unless `set_float32_matmul_precision` allows it",
        model.tf32_products,
        "logits move by up to {logit:.3f}, probabilities by {probability:.0e}",
        "model.py::FraudClassifier.forward",
        "record/test_recorded.py::test_exact_probes_catch_a_device_that_multiplies_in_tf32",
    ),
    Trap(
        "threads and determinism",
        "sums in its libraries' order, which threads and batch size may change",
        "likewise, in other libraries' order; one thread per core",
        model.order_of_a_sum,
        "summed backwards, {in_ten:.0f} in 10 logits has other bits: no two builds need agree in all",
        "training/fit.py::_few_threads",
        "judge/test_bounds.py::test_affine_bound_holds_for_any_order_of_summation",
    ),
    Trap(
        "files",
        "`.keras` holds Adam's moments; of a legacy `.h5` Keras 3 loses them",
        "a `state_dict` of the model alone, pickled",
        training.moments_lost,
        "resumed without moments, weights are {weights:.4f} off after one epoch, which moves them by {epoch:.4f}",
        "keras_files/api.py::load_keras_optimizer",
        "files/test_keras_files_written.py::test_keras_trains_on",
    ),
    Trap(
        "one process for both",
        "brings an LLVM of its own",
        "brings triton's, in the ordinary Linux wheels",
        model.one_process,
        "{dead:.0f} of {tries:.0f} processes that import both die of a signal (SIGABRT or SIGSEGV, as triton 3.9 or 3.7 has it); not with CPU-only wheels, which leave triton out",
        "__init__.py",
        "project/test_walls.py::test_process_border_holds_on_both_sides",
        recorded={"dead": 2, "tries": 2},
    ),
)  # fmt: skip

GROUPS: Mapping[str, tuple[Trap, ...]] = {
    "The tutorial's network": TUTORIAL,
    "Layers and first weights of its neighbours": LAYERS,
    "Losses and penalties of its neighbours": LOSSES,
    "Optimizers, schedules and rows held out": OPTIMIZERS,
    "Other runtimes": RUNTIMES,
}
"""Each heading of the page and its rows."""

TRAPS = tuple(trap for group in GROUPS.values() for trap in group)


def markdown(said: Mapping[str, str]) -> str:
    """The tables of the migration reference, each under its heading.

    Args:
        said: what goes wrong, by the row's name.
    """
    lines = []
    for heading, traps in GROUPS.items():
        lines += [
            f"## {heading}",
            "",
            "| what | Keras | PyTorch by default | what goes wrong, and by how much | done right in | proved by |",
            "|---|---|---|---|---|---|",
        ]
        for trap in traps:
            cells = (trap.name, trap.keras, trap.torch, said[trap.name])
            lines.append(
                f"| {' | '.join(cells)} | `torch_impl/{trap.right}` | `parity_tests/{trap.proof}` |"
            )
        lines.append("")
    return "\n".join(lines)


def measurements() -> str:
    """How each figure is measured, as the page beside this file has it."""
    rows = [f"| {trap.name} | {(trap.measure.__doc__ or '').strip()} |\n" for trap in TRAPS]
    return "| what | what is done to measure it |\n|---|---|\n" + "".join(rows)
