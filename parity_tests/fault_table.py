"""Faults to plant and harmless changes to make: a file, a text in it, and what replaces it.

A text stands in its file exactly once; where it does not, the table is stale.
"""

# ruff: noqa: E501 (a row is a row)

from __future__ import annotations

from typing import NamedTuple

__all__ = ["FAULTS", "HARMLESS", "Change", "first_tests"]


class Change(NamedTuple):
    """One small textual change of the checkout."""

    name: str
    file: str
    old: str
    new: str
    likely: tuple[str, ...] = ()
    """Tests that come first, where those of the file are not the ones."""
    live: bool = False
    """Whether it takes a live Keras to notice: these tests are then all that is run."""


_DATA = "data/prepare.py"
_ADAM = "torch_impl/keras_adam.py"
_CALLBACKS = "torch_impl/callbacks.py"
_CHECKPOINT = "torch_impl/checkpoint.py"
_DROPOUT = "torch_impl/keras_dropout.py"
_FEATURES = "torch_impl/features.py"
_LOSSES = "torch_impl/keras_losses.py"
_METRICS = "torch_impl/keras_metrics.py"
_MODEL = "torch_impl/model.py"
_CPP = "torch_impl/native_epoch.cpp"
_NATIVE = "torch_impl/native.py"
_MODULES = "torch_impl/keras_files/modules.py"
_RANDOM = "torch_impl/keras_random.py"
_SAMPLING = "torch_impl/sampling.py"
_TRAINING = "torch_impl/training.py"
_REPLACING = "torch_impl/replacing.py"
_ROWS = "torch_impl/rows.py"
_WEIGHTS = "torch_impl/keras_weights.py"
_H5 = "torch_impl/keras_files/weights_h5.py"
_LEGACY = "torch_impl/keras_files/legacy_h5.py"
_MODULES = "torch_impl/keras_files/modules.py"
_WRITING = "torch_impl/keras_files/writing.py"
_TENSORS = "torch_impl/keras_files/tensors.py"
_CONFIG = "torch_impl/keras_files/config.py"
_SLOTS = "torch_impl/keras_files/adam_slots.py"
_GRAPH = "torch_impl/keras_files/object_graph.py"
_SAVED = "torch_impl/keras_files/saved_model.py"

_RECORDED = "test_recorded.py::test_torch_"
_DRAWS = f"{_RECORDED}draws_what_keras_drew"
_PASSES = f"{_RECORDED}computes_what_keras_computed"
_STEPS = f"{_RECORDED}takes_the_step_that_keras_took"
_OWN_DIGITS = ("test_training.py::test_losses_are_right_to_their_own_last_digits",)
_HALF = ("test_training.py::test_a_probability_of_one_half_is_no_positive",)
_RUNS = f"{_RECORDED}trains_as_keras_trained"
_COMPILED = "test_recorded.py::test_compiled_epoch_takes_the_step_that_keras_took"

_EPOCH = ("test_compiled_epoch.py",)
_WATCHED = ("test_compiled_epoch.py::test_whoever_waits_to_be_called_is_called",)
_NAMED = ("test_compiled_epoch.py::test_a_build_is_used_again_for_the_same_and_nothing_else",)
_DERIVED = ("test_compiled_epoch.py::test_a_subclass_is_not_taken_for_what_it_is_derived_from",)
_BYTES = ("test_compiled_memory.py",)

_FIRST = {
    _DATA: ["test_data_prepare.py"],
    "data/schema.py": ["test_data_load.py"],
    _CALLBACKS: ["test_recorded.py::test_early_stopping_stops_and_restores_where_keras_did", _RUNS],
    _CHECKPOINT: ["test_checkpoint.py"],
    _REPLACING: ["test_replacing.py", "test_checkpoint.py"],
    _DROPOUT: ["test_keras_parts.py", _DRAWS],
    _FEATURES: ["test_features.py"],
    _LOSSES: ["test_keras_parts.py", _PASSES, _STEPS],
    _ADAM: ["test_keras_parts.py", _STEPS, _RUNS],
    _METRICS: [_PASSES],
    _MODEL: ["test_model.py", _DRAWS, _PASSES, _STEPS],
    _WEIGHTS: ["test_weights.py", _DRAWS],
    _RANDOM: ["test_random_stream.py", _DRAWS],
    _SAMPLING: [_DRAWS],
    _CPP: [_COMPILED, _RUNS],
    _NATIVE: [_COMPILED, _RUNS],
}


def first_tests(change: Change) -> list[str]:
    """The tests most likely to notice; the rest of the fast part comes after them."""
    names = change.likely or _FIRST.get(change.file, [_RUNS])
    return [f"parity_tests/{name}" for name in names]


FAULTS = (
    # weights and the model
    Change("square kernel not transposed on loading", _WEIGHTS, "array = np.array(array.T if row.transpose else array, array.dtype.name", "array = np.array(array.T if row.transpose and array.shape != array.T.shape else array, array.dtype.name"),
    Change("square kernel not transposed on reading", _WEIGHTS, "np.array(array.T if row.transpose else array, order=", "np.array(array.T if row.transpose and array.shape != array.T.shape else array, order="),
    Change("biases swapped with nothing said", _WEIGHTS, "    if faults:\n        raise ValueError(\"Keras weights do not fit", "    if False:\n        raise ValueError(\"Keras weights do not fit"),
    Change("float64 weights rounded with nothing said", _WEIGHTS, 'torch.float32: ("float16", "float32"),', 'torch.float32: ("float16", "float32", "float64"),'),
    Change("hidden bias dropped", _MODEL, "self.activation(self.hidden(x))", "self.activation(torch.nn.functional.linear(x, self.hidden.weight))"),
    Change("hidden bias added twice", _MODEL, "self.activation(self.hidden(x))", "self.activation(self.hidden(x) + self.hidden.bias)"),
    Change("ReLU on the wrong side", _MODEL, "self.activation(self.hidden(x))", "-self.activation(-self.hidden(x))"),
    Change("dropout left on in predict_proba", _MODEL, "torch.sigmoid(self.output(self._hidden_activations(rows)))", "torch.sigmoid(self.output(self.dropout(self._hidden_activations(rows))))"),
    Change("probabilities through tanh with half the slope", _MODEL, "torch.sigmoid(self.output(self._hidden_activations(rows)))", "0.5 + 0.5 * torch.tanh(0.25 * self.output(self._hidden_activations(rows)))"),
    Change("a NaN hidden by the ReLU", _MODEL, "self.activation(self.hidden(x))", "self.activation(self.hidden(x).nan_to_num(nan=0.0, posinf=torch.inf, neginf=-torch.inf))"),
    Change("bfloat16 where float32 belongs", _MODEL, "self.activation(self.hidden(x))", "self.activation(self.hidden(x).bfloat16().to(x.dtype))"),
    Change("prior log-odds of the share instead of the odds", _MODEL, "math.log(positives / negatives)", "math.log(positives / (positives + negatives))"),
    Change("output bias forgotten", _MODEL, "nn.init.constant_(self.output.bias, self.output_bias)", "nn.init.zeros_(self.output.bias)"),
    Change("dropout takes the first kernel's seed", _MODEL, "KerasDropout(dropout, self.seeds[1])", "KerasDropout(dropout, self.seeds[0])"),
    Change("kernels take their seeds in the other order", _MODEL, "((self.hidden, 0), (self.output, -1))", "((self.hidden, -1), (self.output, 0))"),
    Change("a dropout of rate 0 takes a seed", _MODEL, "3 if dropout else 2", "3"),
    # random numbers
    Change("a Weyl constant changed", _RANDOM, "0xBB67AE85", "0xBB67AE84"),
    Change("a Philox multiplier changed", _RANDOM, "0xCD9E8D57)", "0xCD9E8D75)"),
    Change("nine rounds instead of ten", _RANDOM, "_ROUNDS = 10", "_ROUNDS = 9"),
    Change("Philox key words swapped", _RANDOM, "return philox4x32((c0, c1, c2, c3), (k0, k1))", "return philox4x32((c0, c1, c2, c3), (k1, k0))"),
    Change("upper words of the counter swapped", _RANDOM, "c1, c3 = product1, product0", "c1, c3 = product0, product1"),
    Change("counter words swapped", _RANDOM, "counter = (block & _MASK32, block >> 32, upper0, upper1)", "counter = (block >> 32, block & _MASK32, upper0, upper1)"),
    Change("the counter never carries", _RANDOM, "counter = (block & _MASK32, block >> 32, upper0, upper1)", "counter = (block & _MASK32, block * 0, upper0, upper1)"),
    Change("XLA's bits for op bits", _RANDOM, 'return bits & 0x7FFFFF if conversion == "op" else bits >> 9', "return bits >> 9"),
    Change("a unit whose number is the rate is dropped", _RANDOM, "_mantissas(word, conversion) >= threshold", "_mantissas(word, conversion) > threshold"),
    Change("rate not rounded to float32", _RANDOM, "math.ceil(float(np.float32(rate)) * 2**23)", "math.ceil(rate * 2**23)"),
    Change("layer seed wraps one later", _RANDOM, "return value % (2**31 - 2)", "return value % (2**31 - 1)"),
    Change("global seed wraps one earlier", _RANDOM, "key = seed % (2**31 - 1)", "key = seed % (2**31 - 2)"),
    Change("permutation off by one", _RANDOM, "places + words % (n - places)", "places + words % (n - places - 1).clamp(min=1)"),
    Change("limit of Glorot-uniform from fan_in alone", _RANDOM, "math.sqrt(6.0 / max(2, fan_in + fan_out))", "math.sqrt(6.0 / max(2, 2 * fan_in))"),
    Change("Glorot-uniform rounds once where Keras rounds twice", _RANDOM, "return u * (limit32 + limit32) - limit32", "return (u.double() * (2 * limit) - limit).float()"),
    Change("layer seeds start one draw late", _RANDOM, "generator = random.Random(seed)\n", "generator = random.Random(seed)\n    generator.randint(1, int(1e9))\n"),
    Change("a slice of the stream starts at its block", _RANDOM, "[..., skipped : skipped + count]", "[..., :count]"),
    # dropout
    Change("dropout not scaled", _DROPOUT, "_Scaled.apply(x, mask.view(x.shape), 1 / (1 - self.rate))", "_Scaled.apply(x, mask.view(x.shape), 1.0)"),
    Change("dropout scaled by the share dropped", _DROPOUT, "_Scaled.apply(x, mask.view(x.shape), 1 / (1 - self.rate))", "_Scaled.apply(x, mask.view(x.shape), 1 / self.rate)"),
    Change("a NaN stays in a unit that is dropped", _DROPOUT, "scaled.view(mask.dtype).bitwise_and_(mask)", "scaled.mul_(mask != 0)"),
    Change("gradient through units that are dropped", _DROPOUT, "return _Scaled.apply(gradient, *ctx.saved_tensors, ctx.scale), None, None", "return gradient * ctx.scale, None, None"),
    Change("the same mask at every call", _DROPOUT, "self.calls += 1", "self.calls += 0"),
    Change("first mask skipped", _DROPOUT, "self.calls = 0\n", "self.calls = 1\n"),
    Change("dropout on in inference", _DROPOUT, "if not self.training or self.rate == 0:", "if self.rate == 0:", ("test_training.py::test_predict_gives_probabilities_without_dropout_and_keeps_the_mode",)),
    # loss
    Change("gradient at a logit of zero", _LOSSES, "(torch.sigmoid(logits) - labels) * gradient", "(torch.sigmoid(logits) + 0.5 * (logits == 0) - labels) * gradient"),
    Change("log for log1p", _LOSSES, "torch.log1p(torch.exp(-logits.abs()))", "torch.log(torch.exp(-logits.abs()))"),
    Change("loss from logits clipped", _LOSSES, "return logits.clamp(min=0).sub_(logits * labels).add_(softplus)", "return logits.clamp(min=0).sub_(logits * labels).add_(softplus).clamp(max=16.118)"),
    Change("clip of probabilities of another size", _LOSSES, "_EPSILON = 1e-7", "_EPSILON = 1e-8"),
    Change("weighted mean for sum over N", _LOSSES, "return (losses if sample_weight is None else losses * sample_weight).mean()", "return losses.mean() if sample_weight is None else (losses * sample_weight).sum() / sample_weight.sum()"),
    Change("class weights swapped", _LOSSES, 'weights[labels == whole("class_weight: class", label, 0, 1)] = weight', 'weights[labels != whole("class_weight: class", label, 0, 1)] = weight'),
    Change("a class that is not named weighs nothing", _LOSSES, "weights = torch.ones_like(labels)", "weights = torch.zeros_like(labels)"),
    # Adam
    Change("epsilon of torch's size", _ADAM, "eps: float = 1e-7,", "eps: float = 1e-8,"),
    Change("epsilon inside the root", _ADAM, '        scale = torch._foreach_sqrt(v)\n        torch._foreach_add_(scale, group["eps"])\n', '        scale = torch._foreach_sqrt(torch._foreach_add(v, group["eps"]))\n'),
    Change("epsilon after the correction of bias", _ADAM, 'torch._foreach_add_(scale, group["eps"])', 'torch._foreach_add_(scale, group["eps"] * (1 - beta2 ** kinds[0][0]) ** 0.5)'),
    Change("decay powers one step behind", _ADAM, "t = torch.tensor(float(step), dtype=dtype)", "t = torch.tensor(float(max(step - 1, 1)), dtype=dtype)"),
    Change("decay powers one step ahead", _ADAM, "t = torch.tensor(float(step), dtype=dtype)", "t = torch.tensor(float(step + 1), dtype=dtype)"),
    Change("decays swapped", _ADAM, "beta1, beta2 = group[\"betas\"]\n        kinds", "beta2, beta1 = group[\"betas\"]\n        kinds"),
    Change("AdamW's decay of weights", _ADAM, "torch._foreach_sub_(w, change)", "torch._foreach_mul_(w, 1 - 1e-5)\n        torch._foreach_sub_(w, change)"),
    # metrics
    Change("199 thresholds", _METRICS, "_THRESHOLDS = 200 ", "_THRESHOLDS = 199 "),
    Change(">= for > at the threshold of a half", _METRICS, "labels > 0, p > 0.5", "labels > 0, p >= 0.5"),
    Change(">= for > at the thresholds of the areas", _METRICS, "(torch.ceil(p * (_THRESHOLDS - 1)) - 1)", "torch.floor(p * (_THRESHOLDS - 1))", ("test_keras_parts.py::test_a_probability_on_a_threshold_is_not_above_it",)),
    Change("trapezoids under precision and recall", _METRICS, "float((slope * (dtp + intercept * ratio.log())).sum()) / max(positives, 1)", "float((dtp * (tp[:-1] / predicted[:-1].clamp(min=1) + tp[1:] / predicted[1:].clamp(min=1)) / 2).sum()) / max(positives, 1)"),
    Change("precision and recall swapped", _METRICS, '"precision": _ratio(tp, tp + fp),', '"precision": _ratio(tp, tp + fn),'),
    Change("false positives counted as false negatives", _METRICS, "tn, fp, fn, tp = (int(count)", "tn, fn, fp, tp = (int(count)"),
    # fit
    Change("last batch dropped", _TRAINING, "for start in range(0, len(rows), batch_size):\n            batch", "for start in range(0, len(rows) - batch_size + 1, batch_size):\n            batch"),
    Change("last batch over-weighted in the epoch's loss", _TRAINING, "loss.detach().double() * len(y)", "loss.detach().double() * batch_size"),
    Change("rows shuffled anew in each epoch", _TRAINING, "            logs = epoch_engine.train(\n", "            anew = torch.randperm(len(rows)) if shuffle and epoch else slice(None)\n            rows, labels = rows[anew], labels[anew]\n            logs = epoch_engine.train(\n"),
    Change("labels not shuffled with their rows", _TRAINING, "rows, labels = rows[order], labels[order]", "rows = rows[order]"),
    Change("weights not shuffled with their rows", _TRAINING, "weights = None if weights is None else weights[order]", "weights = weights"),
    Change("gradients added up over steps", _TRAINING, "                parameter.grad = None  #", "                pass  #"),
    Change("class weight in the metrics", _TRAINING, "                totals.update(logits, y)\n        return _logs(loss_sum, len(rows), totals, labels.dtype)\n\n    def", "                totals.update(logits if weights is None else logits * weights[batch], y)\n        return _logs(loss_sum, len(rows), totals, labels.dtype)\n\n    def"),
    Change("eager epoch reports the unweighted loss", _TRAINING, "loss_sum += loss.detach().double() * len(y)", "loss_sum += losses.detach().double().sum()"),
    Change("compiled epoch reports the unweighted loss", _TRAINING, '_native_logs(totals, "weighted_loss", rows, metrics)', '_native_logs(totals, "loss", rows, metrics)'),
    Change("validation with dropout", _TRAINING, "            module.training = False\n", "            pass\n"),
    Change("validation rows are the training rows", _TRAINING, "measured = epoch_engine.evaluate(*validation, batch_size, metrics)", "measured = epoch_engine.evaluate(rows[part], labels[part], None, batch_size, metrics)"),
    Change("history in float64", _TRAINING, "held = torch.float64 if dtype == torch.float64 else torch.float32", "held = torch.float64", ("test_training.py::test_history_holds_what_float32_held",)),
    Change("every epoch takes the first steps again", _TRAINING, "start = epoch % epochs_per_pass * steps * batch_size", "start = 0"),
    Change("mode of the module not put back", _TRAINING, "        opened.enter_context(_own_modes(model))\n", "", ("test_training.py::test_fit_leaves_the_mode_of_the_module_as_it_was",)),
    # early stopping and checkpoints
    Change("patience off by one", _CALLBACKS, "elif self.wait >= self.patience:", "elif self.wait > self.patience:"),
    Change("best weights not restored", _CALLBACKS, "            model.load_state_dict(self.best_weights, strict=False)", "            pass"),
    Change("best weights restored only on stopping", _CALLBACKS, "if self.restore_best_weights and self.best_weights is not None:", "if self.restore_best_weights and self.best_weights is not None and self.stop_training:"),
    Change("best weights are no copy", _CALLBACKS, "value.detach().clone()", "value.detach()"),
    Change("min_delta ignored", _CALLBACKS, "np.float32(current - self.sign * self.min_delta)", "np.float32(current)"),
    Change("direction of what is monitored ignored", _CALLBACKS, 'self.sign = -1.0 if mode == "min" or (mode == "auto" and name in _DOWN) else 1.0', "self.sign = 1.0"),
    Change("checkpoint written in place", _REPLACING, 'descriptor, part = tempfile.mkstemp(".part", f".{path.name}.", path.parent)', "descriptor, part = os.open(path, os.O_WRONLY | os.O_CREAT), str(path)", ("test_checkpoint.py::test_a_kill_while_writing_leaves_the_old_checkpoint",)),
    Change("dropout count not restored", _DROPOUT, 'self.calls = whole("KerasDropout: calls", state, 0)', "pass"),
    Change("optimizer not restored", _CHECKPOINT, "        optimizer.load_state_dict({", "        dict({", ("test_checkpoint.py::test_another_optimizer_state_is_resumed_too",)),
    Change("early stopping not restored", _CHECKPOINT, "            callback.load_state_dict({**kept", "            dict({**kept"),
    Change("torch's generator not restored", _CHECKPOINT, "        torch.set_rng_state(", "        print("),
    Change("a damaged checkpoint believed", _CHECKPOINT, 'if header.get("sha256") != _digest(text, tensors):', "if False:"),
    # the compiled epoch
    Change("C++: Weyl constant changed", _CPP, "0xBB67AE85u", "0xBB67AE86u"),
    Change("C++: Philox key words swapped", _CPP, "const uint32_t k0 = key[0], k1 = key[1]", "const uint32_t k0 = key[1], k1 = key[0]"),
    Change("C++: masks of every tile are the first's", _CPP, "uint64_t(at) * H / 4", "0"),
    Change("C++: a unit whose number is the rate is dropped", _CPP, ">> 9 >= threshold", ">> 9 > threshold"),
    Change("C++: dropout not scaled", _CPP, "? h[i] * scale : Real(0)", "? h[i] : Real(0)"),
    Change("C++: gradient not scaled by dropout", _CPP, "t.dlogit[r] * w.kernel2[j] * scale;", "t.dlogit[r] * w.kernel2[j];"),
    Change("C++: gradient flows through units at zero", _CPP, "h <= 0 ? Lane{} : d", "h < 0 ? Lane{} : d"),
    Change("C++: output bias dropped", _CPP, "(sum[3] + sum[7])) + w.bias2;", "(sum[3] + sum[7]));"),
    Change("C++: a NaN hidden by the ReLU", _CPP, "z < 0 ? Lane{} : z;", "z > 0 ? z : Lane{};", ("test_training.py::test_a_missing_number_in_training_stays_visible",)),
    Change("C++: last batch divided by the batch size", _CPP, "Real(1) / Real(batch_rows)", "Real(1) / Real(batch)"),
    Change("C++: last batch dropped", _CPP, "start < n; start += batch, ++iterations", "start + batch <= n; start += batch, ++iterations"),
    Change("C++: decay powers one step behind", _CPP, "adam_step(*adam, iterations + 1, w, m, v, g);", "adam_step(*adam, iterations > 0 ? iterations : 1, w, m, v, g);"),
    Change("C++: epsilon inside the root", _CPP, "(std::sqrt(v[i]) + a.epsilon)", "std::sqrt(v[i] + a.epsilon)"),
    Change("C++: weights of rows ignored", _CPP, "t.dlogit[r] *= tile_weight[r]", "t.dlogit[r] *= 1"),
    Change("C++: validation loss weighted by nothing counted", _CPP, "batch.weighted_loss += weight ? weighted : loss;", "batch.weighted_loss += weighted;"),
    Change("C++: >= for > at a half", _CPP, "predicted += p > Real(0.5);", "predicted += p >= Real(0.5);", _HALF),
    Change("C++: >= for > at a half of the positives", _CPP, "tp += p > Real(0.5)", "tp += p >= Real(0.5)", _HALF),
    Change("C++: one bucket too low", _CPP, "std::ceil(p * BUCKETS) - Real(1))", "std::ceil(p * BUCKETS) - Real(2))"),
    Change("C++: dropout count not kept", _NATIVE, "drop.calls += steps", "drop.calls += 0"),
    Change("C++: step count not kept", _NATIVE, 'state["step"] += steps', 'state["step"] += 0'),
    Change("C++: XLA's bits for op bits", _NATIVE, '0 if drop.conversion == "xla" else 9', "0"),
    # features, sampling and the data room
    Change("ddof 1", _FEATURES, "table.var(dim=0, correction=0)", "table.var(dim=0, correction=1)"),
    Change("clip before scale", _FEATURES, "table = (self._log(rows.to(torch.float64)) - self.mean) / self.scale\n        return table.clamp(-self.clip, self.clip)", "table = (self._log(rows.to(torch.float64)).clamp(-self.clip, self.clip) - self.mean) / self.scale\n        return table"),
    Change("log1p for log", _FEATURES, "torch.log(column + self.log_offset)", "torch.log1p(column)"),
    Change("float32 where float64 belongs", _FEATURES, "(self._log(rows.to(torch.float64)) - self.mean)", "(self._log(rows.to(torch.float32)) - self.mean)"),
    Change("a missing number becomes zero", _FEATURES, "table.clamp(-self.clip, self.clip)", "table.nan_to_num(nan=0.0).clamp(-self.clip, self.clip)"),
    Change("positives drawn without their labels", _SAMPLING, "return rows[taken], labels[taken]", "return rows[taken], labels"),
    Change("oversampled rows not shuffled", _SAMPLING, "    generator.shuffle(order)\n", ""),
    Change("split without seed", _DATA, "train_and_validation, test = train_test_split(frame, test_size=0.2, random_state=seed)", "train_and_validation, test = train_test_split(frame, test_size=0.2)", ("test_data_prepare.py::test_one_seed_gives_one_split_and_another_seed_another",)),
    Change("scaler fitted on all rows", _DATA, "cleaned = _cleaned(train)", "cleaned = _cleaned(frame)", ("test_data_prepare.py::test_scaler_sees_the_training_rows_alone",)),
    Change("train and validation swapped", _DATA, "    train, validation = train_test_split(", "    validation, train = train_test_split(", ("test_data_prepare.py::test_splits_share_no_row_and_lose_none",)),
    Change("labels as integers", _DATA, '.to_numpy(dtype=np.float32).reshape(-1, 1)', '.to_numpy().reshape(-1, 1)'),
    Change("clip at four", _DATA, "_CLIP = 5.0", "_CLIP = 4.0"),
    Change("another offset of the logarithm", _DATA, "_EPS = 0.001", "_EPS = 0.01"),
    Change("negative amounts let through", "data/schema.py", 'refuse(table["Amount"] < 0,', 'refuse(table["Amount"] < -1e9,'),
    # thirty of another hand; those marked live are in the reference and the proof itself
    Change("the metric clips what the loss does not", _METRICS, "loss = binary_crossentropy_from_logits(logits, labels).sum(dtype=torch.float64)", "loss = binary_crossentropy_from_logits(logits, labels).clamp(max=16.118).sum(dtype=torch.float64)"),
    Change("a pass in steps drops its last short batch", _TRAINING, "return slice(start, min(start + steps * batch_size, rows))", "return slice(start, min(start + steps * batch_size, rows // batch_size * batch_size))"),
    Change("class weights cut off to whole numbers", _LOSSES, 'weights[labels == whole("class_weight: class", label, 0, 1)] = weight', 'weights[labels == whole("class_weight: class", label, 0, 1)] = int(weight)'),
    Change("a loss over no more than a thousand rows", _TRAINING, 'logs = {"loss": float(loss_sum) / max(rows, 1)}', 'logs = {"loss": float(loss_sum) / max(min(rows, 1000), 1)}'),
    Change("a run with a seed draws from torch's generator all the same", _TRAINING, "    order_seed = seed\n", "    order_seed = seed\n    torch.randint(2**32, ())\n"),
    Change("the rows trained on are changed in place", _TRAINING, "rows, labels = rows[order], labels[order]", "rows[:], labels[:] = rows[order], labels[order]"),
    Change("Adam moves parameters that have no gradient", _ADAM, 'parameters = [p for p in group["params"] if p.grad is not None]', 'parameters = [p for p in group["params"] if p.grad is not None or self.state.get(p)]\n                for p in parameters:\n                    p.grad = torch.zeros_like(p) if p.grad is None else p.grad'),
    Change("Adam's moments start at the first gradient", _ADAM, "change = torch._foreach_sub(g, m)", 'if kinds[0][0] == 1:\n            torch._foreach_add_(m, g)\n        change = torch._foreach_sub(g, m)'),
    Change("beta as float64 holds it in Adam's corrections", _ADAM, 'betas = torch.tensor(group["betas"], dtype=torch.float32).to(dtype)', 'betas = torch.tensor(group["betas"], dtype=dtype)'),
    Change("C++: beta as float64 holds it in Adam's corrections", _NATIVE, "powers = np.float32(beta1), np.float32(beta2)", "powers = beta1, beta2"),
    Change("a learning rate larger by 1e-7 of itself", _ADAM, 'return torch.as_tensor(group["lr"], dtype=dtype) *', 'return torch.as_tensor(group["lr"] * (1 + 1e-7), dtype=dtype) *'),
    Change("C++: a learning rate larger by 1e-7 of itself", _NATIVE, '[group["lr"], *powers', '[group["lr"] * (1 + 1e-7), *powers'),
    Change("rows taken backwards", _TRAINING, "order = shuffle_permutation(order_seed, len(rows)).to(rows.device)", "order = shuffle_permutation(order_seed, len(rows)).flip(0).to(rows.device)"),
    Change("one weight off by 1e-12 in float64", _TRAINING, "        callback.on_train_end(model)\n    return history", "        callback.on_train_end(model)\n    with torch.no_grad():\n        next(model.parameters()).view(-1)[-1] += 1e-12\n    return history"),
    Change("early stopping compares in float64", _CALLBACKS, "least = np.float32(current - self.sign * self.min_delta)\n        return bool(self.sign * least > self.sign * np.float32(best))", "least = current - self.sign * self.min_delta\n        return bool(self.sign * least > self.sign * best)"),
    Change("early stopping looks one epoch too early", _CALLBACKS, "epoch < self.start_from_epoch", "epoch < self.start_from_epoch - 1"),
    Change("a model's weights are handed out as views", _WEIGHTS, "weights[row.keras] = np.array(", "weights[row.keras] = np.asarray("),
    Change("weights are copied up to the first fault", _WEIGHTS, "            copies.append((parameter, torch.from_numpy(array)))", "            copies.append((parameter, torch.from_numpy(array)))\n            parameter.copy_(torch.from_numpy(array))"),
    Change("oversampling draws each positive once", _SAMPLING, "generator.choice(np.arange(len(positive)), len(negative))", "np.resize(generator.permutation(len(positive)), len(negative))"),
    Change("masks of later blocks of calls are the first block's", _DROPOUT, "_masks(*stream, block * ahead, ahead,", "_masks(*stream, 0, ahead,"),
    Change("the scale of a constant column is its rounding error", _FEATURES, "scale = torch.where(constant, 1.0, variance.sqrt())", "scale = torch.where(variance == 0, 1.0, variance.sqrt())"),
    Change("features moved to float16 lose their statistics", _FEATURES, "if moved is not None and moved.dtype != torch.float64:", "if False:"),
    Change("prior log-odds to base ten", _MODEL, "math.log(positives / negatives)", "math.log10(positives / negatives)"),
    Change("C++: the Brier score is weighted by rows", _CPP, "squared += error * error;", "squared += error * error * (weight ? weight[r] : Real(1));"),
    Change("C++: Adam's count is of epochs", _CPP, "start < n; start += batch, ++iterations, streams += 4", "start < n; start += batch, streams += 4"),
    Change("reference in float64 drops units that float32 keeps", "keras_ref/model.py", "ones = keras.ops.ones_like(inputs, dtype=\"float32\")", "ones = keras.ops.ones_like(inputs)", ("test_fit.py::test_the_run_in_float64_is_the_ordinary_one_but_for_its_precision",), live=True),
    Change("reference in float64 starts from its own draws", "keras_ref/training.py", "set_weights(model, {name: array.astype(dtype) for name, array in initial.items()})", "dict(initial)", ("test_fit.py::test_a_whole_run_agrees",), live=True),
    Change("reference at its edges is the plain run", "keras_ref/edges.py", "open_ = ops.where(ops.abs(z) < _typical(terms) * size, 1 - above, above)", "open_ = above", ("test_edges.py",), live=True),
    Change("the verdict's sentence counts no stage that must be exact", "parity_tests/report.py", "broken = sum(not result.agree for result in results)", "broken = sum(not result.agree for result in results if result.allowance_used is not None)", ("test_report.py",)),
    Change("the report agrees where any stage does", "parity_tests/report.py", '"agree" if all(result.agree', '"agree" if any(result.agree', ("test_report.py",), live=True),
    # training and files: modes, callbacks, what is resumed, and layers that are all alike
    Change("all callbacks must want the stop", _TRAINING, "if any(callback.stop_training for callback in callbacks):", "if callbacks and all(callback.stop_training for callback in callbacks):", ("test_training.py::test_any_one_of_several_callbacks_may_stop_the_run",)),
    Change("the first callback alone may stop", _TRAINING, "if any(callback.stop_training for callback in callbacks):", "if any(callback.stop_training for callback in callbacks[:1]):", ("test_training.py::test_any_one_of_several_callbacks_may_stop_the_run",)),
    Change("the last callback alone may stop", _TRAINING, "if any(callback.stop_training for callback in callbacks):", "if any(callback.stop_training for callback in callbacks[-1:]):", ("test_training.py::test_any_one_of_several_callbacks_may_stop_the_run",)),
    Change("every module gets the outer one's mode", _TRAINING, "            module.training = training\n", "            module.training = modes[0][1]\n", ("test_training.py::test_fit_leaves_the_mode_of_the_module_as_it_was",)),
    Change("modes are not put back after an error", _TRAINING, "    try:\n        yield\n    finally:\n        for module, training in modes:\n            module.training = training\n", "    yield\n    for module, training in modes:\n        module.training = training\n", ("test_training.py::test_every_module_runs_in_the_mode_due_and_gets_its_own_back",)),
    Change("inference mode reaches two levels of modules", _TRAINING, "        for module in model.modules():\n            module.training = False\n", "        for module in (model, *model.children()):\n            module.training = False\n", ("test_training.py::test_every_module_runs_in_the_mode_due_and_gets_its_own_back",)),
    Change("inference mode reaches the outer module alone", _TRAINING, "            module.training = False\n", "            module.training = module.training and module is not model\n", ("test_training.py::test_predict_gives_probabilities_without_dropout_and_keeps_the_mode",)),
    Change("callbacks see the end of the run in training mode", _TRAINING, "    for callback in callbacks:\n        callback.on_train_end(model)\n", "        for callback in callbacks:\n            callback.on_train_end(model)\n", ("test_training.py::test_every_module_runs_in_the_mode_due_and_gets_its_own_back",)),
    Change("threads are not put back after an error", _TRAINING, "    try:\n        if small:\n            torch.set_num_threads(1)\n        yield\n    finally:\n        torch.set_num_threads(threads)\n", "    if small:\n        torch.set_num_threads(1)\n    yield\n    torch.set_num_threads(threads)\n", ("test_training.py::test_training_leaves_threads_and_warnings_as_they_were",)),
    Change("every group has the first one's learning rate", _ADAM, "self.alpha(kind[0], group, kind[1])", "self.alpha(kind[0], self.param_groups[0], kind[1])", ("test_keras_parts.py::test_each_group_has_its_own_numbers_and_each_parameter_its_own_count_of_steps",)),
    Change("every group has the first one's decays", _ADAM, "beta1, beta2 = group[\"betas\"]", "beta1, beta2 = self.param_groups[0][\"betas\"]", ("test_keras_parts.py::test_each_group_has_its_own_numbers_and_each_parameter_its_own_count_of_steps",)),
    Change("all parameters count the first one's steps", _ADAM, "(int(state[\"step\"]), p.dtype)", "(int(states[0][\"step\"]), p.dtype)", ("test_keras_parts.py::test_each_group_has_its_own_numbers_and_each_parameter_its_own_count_of_steps",)),
    Change("only the first group is stepped", _ADAM, "for group in self.param_groups:", "for group in self.param_groups[:1]:", ("test_keras_parts.py::test_each_group_has_its_own_numbers_and_each_parameter_its_own_count_of_steps",)),
    Change("the learning rate of the first step for ever", _ADAM, "torch.as_tensor(group[\"lr\"], dtype=dtype)", "torch.as_tensor(group.setdefault(\"first lr\", group[\"lr\"]), dtype=dtype)", ("test_training.py::test_a_learning_rate_set_between_epochs_is_the_next_epochs",)),
    Change("C++: the learning rate that the optimizer was made with", _NATIVE, "[group[\"lr\"], *powers", "[self._optimizer.defaults[\"lr\"], *powers", ("test_training.py::test_a_learning_rate_set_between_epochs_is_the_next_epochs",)),
    Change("a negative min_delta lowers the bar", _CALLBACKS, "self.min_delta = abs(min_delta)", "self.min_delta = min_delta", ("test_early_stopping.py::test_a_course_ends_in_the_epoch_and_on_the_weights_written_down",)),
    Change("min_delta is added in both modes", _CALLBACKS, "current - self.sign * self.min_delta", "current + self.min_delta", ("test_early_stopping.py::test_an_improvement_is_more_than_the_least_difference",)),
    Change("min_delta is taken off in both modes", _CALLBACKS, "current - self.sign * self.min_delta", "current - self.min_delta", ("test_early_stopping.py::test_an_improvement_is_more_than_the_least_difference",)),
    Change("the baseline is compared without min_delta", _CALLBACKS, "self._improves(current, self.baseline)", "self.sign * current > self.sign * self.baseline", ("test_early_stopping.py::test_a_course_ends_in_the_epoch_and_on_the_weights_written_down",)),
    Change("an improvement short of the baseline may stop", _CALLBACKS, "        elif self.wait >= self.patience:", "        if self.wait >= self.patience:", ("test_early_stopping.py::test_by_default_the_first_rise_of_the_validation_loss_stops",)),
    Change("patience is one epoch short", _CALLBACKS, "self.wait >= self.patience:", "self.wait >= max(self.patience - 1, 1):", ("test_early_stopping.py::test_standing_still_is_no_improvement",)),
    Change("best weights are forgotten by a checkpoint", _CALLBACKS, "\"tensors\": self.best_weights or {},", "\"tensors\": {},", ("test_checkpoint.py::test_early_stopping_waits_on_where_it_was_interrupted",)),
    Change("the stop is forgotten by a checkpoint", _CALLBACKS, "\"stop_training\": self.stop_training,", "\"stop_training\": False,", ("test_checkpoint.py::test_a_run_that_was_stopped_is_not_gone_on_with",)),
    Change("learning rates are not resumed", _CHECKPOINT, "\"param_groups\": facts[\"param_groups\"]", "\"param_groups\": optimizer.state_dict()[\"param_groups\"]", ("test_checkpoint.py::test_a_resumed_run_gets_back_all_that_a_run_has",)),
    Change("every group resumes with the first one's options", _CHECKPOINT, "\"param_groups\": facts[\"param_groups\"]", "\"param_groups\": [facts[\"param_groups\"][0] | {\"params\": g[\"params\"]} for g in facts[\"param_groups\"]]", ("test_checkpoint.py::test_a_resumed_run_gets_back_all_that_a_run_has",)),
    Change("step counts start over on resuming", _CHECKPOINT, "state.setdefault(int(index), {})[key] = value", "state.setdefault(int(index), {})[key] = value * (key != \"step\")", ("test_checkpoint.py::test_a_kill_while_writing_leaves_the_old_checkpoint",)),
    Change("only the first group's moments are kept", _CHECKPOINT, "for index, state in packed[\"state\"].items():", "for index, state in list(packed[\"state\"].items())[: len(packed[\"param_groups\"][0][\"params\"])]:", ("test_checkpoint.py::test_a_resumed_run_gets_back_all_that_a_run_has",)),
    Change("dropouts within other modules are not resumed", _CHECKPOINT, "for module in model.modules() if", "for module in model.children() if", ("test_checkpoint.py::test_a_resumed_run_gets_back_all_that_a_run_has",)),
    Change("every dropout resumes with the first one's count", _CHECKPOINT, "        model.load_state_dict(weights)\n", "        model.load_state_dict(weights)\n        for layer in _dropouts(model):\n            layer.calls = _dropouts(model)[0].calls\n", ("test_checkpoint.py::test_a_resumed_run_gets_back_all_that_a_run_has",)),
    Change("only the first callback is resumed", _CHECKPOINT, "            callback.load_state_dict({**kept", "            if position == 0:\n                callback.load_state_dict({**kept", ("test_checkpoint.py::test_a_resumed_run_gets_back_all_that_a_run_has",)),
    Change("a checkpoint is one callback behind", _TRAINING, "            for callback in callbacks:\n                callback.on_epoch_end(epoch, logs, model)\n            if store is not None:\n                store.save(model, optimizer, callbacks, history, run)\n", "            if store is not None:\n                store.save(model, optimizer, callbacks, history, run)\n            for callback in callbacks:\n                callback.on_epoch_end(epoch, logs, model)\n", ("test_checkpoint.py::test_early_stopping_waits_on_where_it_was_interrupted",)),
    Change("a resumed run forgets its history", _CHECKPOINT, "        history.history.update(facts[\"history\"])\n", "", ("test_checkpoint.py::test_a_resumed_run_gets_back_all_that_a_run_has",)),
    Change("a resumed run trains all its epochs again", _TRAINING, "_bar(range(len(history.epoch), epochs), progress)", "_bar(range(len(history.epoch), len(history.epoch) + epochs), progress)", ("test_checkpoint.py::test_a_kill_while_writing_leaves_the_old_checkpoint",)),
    Change("labels between 0 and 1 are taken", _ROWS, "(labels == 0) | (labels == 1)", "(labels >= 0) & (labels <= 1)", ("test_training.py::test_bad_input_is_refused_before_anything_is_trained",)),
    Change("labels are rounded", _ROWS, "labels = column(y, like.numbers, f\"{where}: y\", len(rows))", "labels = column(y, like.numbers, f\"{where}: y\", len(rows)).round()", ("test_training.py::test_bad_input_is_refused_before_anything_is_trained",)),
    Change("a row of labels is taken for a column", _ROWS, "if numbers.shape not in ((rows,), (rows, 1)):", "if numbers.numel() != rows:", ("test_training.py::test_bad_input_is_refused_before_anything_is_trained",)),
    Change("weights of rows lie in a row", _TRAINING, "weights = column(sample_weight, like.numbers, \"fit: sample_weight\", len(rows))", "weights = as_tensor(sample_weight, like.numbers)", ("test_training.py::test_bad_input_is_refused_before_anything_is_trained",)),
    Change("a gradient flows into the rows", _ROWS, "return tensor.detach().to(like.device, like.dtype)", "return tensor.to(like.device, like.dtype)", ("test_training.py::test_no_gradient_flows_into_what_the_caller_gave",)),
    Change("rows pass through float32", _ROWS, "return tensor.detach().to(like.device, like.dtype)", "return tensor.detach().float().to(like.device, like.dtype)", ("test_training.py::test_rows_reach_the_model_rounded_once_to_its_own_dtype",)),
    Change("validation rows are shuffled and their labels are not", _TRAINING, "    rows = rows.contiguous()\n", "    if shuffle and held_out is not None:\n        held_out = held_out[0][shuffle_permutation(seed or 0, len(held_out[0]))], held_out[1]\n    rows = rows.contiguous()\n", ("test_training.py::test_evaluate_gives_what_fit_reports_for_validation",)),
    Change("validation comes before the epoch", _TRAINING, "            logs = epoch_engine.train(\n                rows[part],\n                labels[part],\n                None if weights is None else weights[part],\n                batch_size,\n                metrics,\n            )\n            if validation is not None:\n                measured = epoch_engine.evaluate(*validation, batch_size, metrics)\n", "            if validation is not None:\n                measured = epoch_engine.evaluate(*validation, batch_size, metrics)\n            logs = epoch_engine.train(\n                rows[part],\n                labels[part],\n                None if weights is None else weights[part],\n                batch_size,\n                metrics,\n            )\n            if validation is not None:\n", ("test_training.py::test_evaluate_gives_what_fit_reports_for_validation",)),
    Change("metrics add up over epochs", _TRAINING, "        totals = KerasMetrics(rows.device) if metrics else None\n        loss_sum = torch.zeros((), dtype=torch.float64, device=rows.device)\n        for start", "        totals = KerasMetrics(rows.device) if metrics else None\n        if totals is not None:\n            totals = self.__dict__.setdefault(\"totals\", totals)\n        loss_sum = torch.zeros((), dtype=torch.float64, device=rows.device)\n        for start", ("test_checkpoint.py::test_a_resumed_run_gets_back_all_that_a_run_has",)),
    Change("the rest of a pass is no epoch", _TRAINING, "epochs_per_pass = -(-rows // (steps * batch_size))", "epochs_per_pass = max(rows // (steps * batch_size), 1)", ("test_training.py::test_epochs_of_some_steps_walk_through_the_rows",)),
    Change("history in the order in which it was measured", _TRAINING, "for name in sorted(logs)}", "for name in logs}", ("test_training.py::test_history_is_held_in_float32_or_in_float64_where_the_model_is",)),
    Change("history in the dtype of the rows", _TRAINING, "held = torch.float64 if dtype == torch.float64 else torch.float32", "held = dtype", ("test_training.py::test_history_is_held_in_float32_or_in_float64_where_the_model_is",)),
    Change("a class that weighs nothing weighs 1", _LOSSES, 'weights[labels == whole("class_weight: class", label, 0, 1)] = weight', 'weights[labels == whole("class_weight: class", label, 0, 1)] = weight or 1', ("test_training.py::test_weights_of_rows_are_a_column_in_every_form",)),
    Change("dense_10 comes before dense_2", _H5, "key=lambda row: row[0])", "key=lambda row: str(row[0]))", ("test_keras_files_alike.py::test_what_keras_wrote_comes_to_the_module_it_belongs_to",)),
    Change("variable 10 comes before variable 2", _H5, "found = [members.get(str(i)) for i in range(count)]", "found = [members.get(str(i)) for i in sorted(range(count), key=str)]", ("test_keras_network.py::test_a_model_and_its_optimizer_come_back_from_a_file",)),
    Change("item 10 of a list comes before item 2", _GRAPH, "for number in sorted(numbers)]", "for number in sorted(numbers, key=str)]", ("test_object_graph.py::test_objects_are_found_by_path_and_lists_are_in_order",)),
    Change("layers of a legacy file in the order of their names", _LEGACY, "for layer in _names(group, \"layer_names\", where):", "for layer in sorted(_names(group, \"layer_names\", where)):", ("test_keras_h5_hostile.py::test_legacy_weights_alone_come_in_the_order_in_which_their_layers_are_listed",)),
    Change("Adam's variables of a legacy file in the order of their names", _LEGACY, "for name in _names(group, \"weight_names\", where):", "for name in sorted(_names(group, \"weight_names\", where)):", ("test_keras_network.py::test_a_model_and_its_optimizer_come_back_from_a_file",)),
    Change("a dropout's seed of 0 is none, in a module", _MODULES, "if layer.seed is None else", "if not layer.seed else", ("test_keras_network.py::test_dropout_keeps_its_rate_and_seed",)),
    Change("a dropout's seed of 0 is none, of a module", _MODULES, "seed = drop.seed if isinstance(drop, KerasDropout) else None", "seed = (drop.seed or None) if isinstance(drop, KerasDropout) else None", ("test_keras_network.py::test_a_fraud_classifier_is_told_under_kerass_default_names",)),
    Change("a dropout's seed of 0 is none, as read", _CONFIG, "seed=seed if type(seed) is int else None", "seed=(seed or None) if type(seed) is int else None", ("test_keras_files_alike.py::test_what_keras_wrote_comes_to_the_module_it_belongs_to",)),
    Change("a dropout's seed of 0 is none, as written", _CONFIG, "\"seed\": layer.seed,", "\"seed\": layer.seed or None,", ("test_keras_files_alike.py::test_what_is_written_stands_where_keras_looks_for_it",)),
    Change("square kernel not transposed for a module", _MODULES, "parameters[row.torch].copy_(tensor.T if row.transpose else tensor)", "parameters[row.torch].copy_(tensor.T if row.transpose and tensor.shape != tensor.T.shape else tensor)", ("test_keras_files_alike.py::test_what_keras_wrote_comes_to_the_module_it_belongs_to",)),
    Change("square moments not transposed for an optimizer", _MODULES, "slots[name].copy_(tensor.T if row.transpose else tensor)", "slots[name].copy_(tensor.T if row.transpose and tensor.shape != tensor.T.shape else tensor)", ("test_keras_files_alike.py::test_what_keras_wrote_comes_to_the_module_it_belongs_to",)),
    Change("square kernel not transposed for a file", _MODULES, "row.keras: (tensor.T if row.transpose else tensor).clone(", "row.keras: (tensor.T if row.transpose and tensor.shape != tensor.T.shape else tensor).clone(", ("test_keras_files_alike.py::test_what_is_written_stands_where_keras_looks_for_it",)),
    Change("square kernel transposed in .weights.h5 as written", _WRITING, "_put(group, str(i), contents.weights[weight])", "_put(group, str(i), contents.weights[weight].T if contents.weights[weight].ndim == 2 and contents.weights[weight].shape == contents.weights[weight].T.shape else contents.weights[weight])", ("test_keras_files_alike.py::test_what_is_written_stands_where_keras_looks_for_it",)),
    Change("square kernel transposed in .h5 as written", _WRITING, "paths = {f\"{model}/{name}\": contents.weights[name] for name in weights}", "paths = {f\"{model}/{name}\": contents.weights[name].T if contents.weights[name].shape == contents.weights[name].shape[::-1] and contents.weights[name].ndim == 2 else contents.weights[name] for name in weights}", ("test_keras_files_alike.py::test_what_is_written_stands_where_keras_looks_for_it",)),
    Change("square momentum transposed as written", _WRITING, "variables[f\"{flat}_momentum\"] = optimizer.momentum[name]", "m = optimizer.momentum[name]\n        variables[f\"{flat}_momentum\"] = m.T if m.ndim == 2 and m.shape == m.shape[::-1] else m", ("test_keras_files_alike.py::test_what_is_written_stands_where_keras_looks_for_it",)),
    Change("square velocity transposed in .safetensors as written", _TENSORS, "tensors |= {f\"{kind}/{name}\": slots[name] for name in contents.weights}", "tensors |= {f\"{kind}/{name}\": slots[name].T if slots[name].ndim == 2 and kind == \"velocity\" and slots[name].shape == slots[name].shape[::-1] else slots[name] for name in contents.weights}", ("test_keras_files_alike.py::test_what_is_written_stands_where_keras_looks_for_it",)),
    Change("square kernel transposed in .safetensors as read", _TENSORS, "        slots[prefix][rest] = tensor\n", "        square = tensor.ndim == 2 and tensor.shape == tensor.shape[::-1]\n        slots[prefix][rest] = tensor.T if square and not prefix else tensor\n", ("test_keras_files_alike.py::test_what_keras_wrote_comes_to_the_module_it_belongs_to",)),
    Change("square kernel transposed in .weights.h5 as read", _H5, "f\"{name}/{kind}\": t for kind, t in zip(", "f\"{name}/{kind}\": t.T if t.ndim == 2 and t.shape == t.shape[::-1] else t for kind, t in zip(", ("test_keras_files_alike.py::test_what_keras_wrote_comes_to_the_module_it_belongs_to",)),
    Change("square kernel transposed in .h5 as read", _LEGACY, "            weights[name] = _dataset(held, path, where).tensor()\n", "            weights[name] = _dataset(held, path, where).tensor()\n            if weights[name].ndim == 2 and weights[name].shape == weights[name].shape[::-1]:\n                weights[name] = weights[name].T\n", ("test_keras_files_alike.py::test_what_keras_wrote_comes_to_the_module_it_belongs_to",)),
    Change("square moments transposed in HDF5 as read", _H5, "    slots = tensors[1 + len(rate) :]\n", "    slots = [t.T if t.ndim == 2 and t.shape == t.shape[::-1] else t for t in tensors[1 + len(rate) :]]\n", ("test_keras_files_alike.py::test_what_keras_wrote_comes_to_the_module_it_belongs_to",)),
    Change("square moments transposed in a checkpoint as read", _SLOTS, "{weight: bundle.tensor(_key(graph, node)) for weight, node in slots.items()}", "{weight: t.T if t.ndim == 2 and t.shape == t.shape[::-1] else t for weight, node in slots.items() for t in [bundle.tensor(_key(graph, node))]}", ("test_keras_files_alike.py::test_what_keras_wrote_comes_to_the_module_it_belongs_to",)),
    Change("square kernel transposed in a checkpoint as read", _SAVED, "weights={name: bundle.tensor(graph.nodes[node].key or \"\") for name, node in nodes.items()},", "weights={name: t.T if t.ndim == 2 and t.shape == t.shape[::-1] else t for name, node in nodes.items() for t in [bundle.tensor(graph.nodes[node].key or \"\")]},", ("test_keras_files_alike.py::test_what_keras_wrote_comes_to_the_module_it_belongs_to",)),
    Change("a file is moved before it is on the disk", _REPLACING, "            os.fsync(file.fileno())\n        os.replace(part, path)\n", "            os.replace(part, path)\n            os.fsync(file.fileno())\n", ("test_replacing.py::test_a_file_is_on_the_disk_before_it_is_moved_and_then_the_move_is",)),
    Change("a file's buffer is not flushed before the disk is", _REPLACING, "            file.flush()\n", "", ("test_replacing.py::test_a_file_is_on_the_disk_before_it_is_moved_and_then_the_move_is",)),
    Change("the folder is not flushed to the disk", _REPLACING, "        _flush_folder(path.parent)\n", "", ("test_replacing.py::test_a_file_is_on_the_disk_before_it_is_moved_and_then_the_move_is",)),
    Change("the folder is flushed before the move", _REPLACING, "        os.replace(part, path)\n        _flush_folder(path.parent)\n", "        _flush_folder(path.parent)\n        os.replace(part, path)\n", ("test_replacing.py::test_a_file_is_on_the_disk_before_it_is_moved_and_then_the_move_is",)),
    Change("steps as float32 holds them, as read", _H5, "iterations=int(tensors[0]),", "iterations=int(tensors[0].float()),", ("test_keras_files_alike.py::test_what_keras_wrote_comes_to_the_module_it_belongs_to",)),
    Change("the learning rate of the config, not the optimizer's", _H5, "learning_rate = float(rate[0]) if rate else numbers.get(\"learning_rate\")", "learning_rate = numbers.get(\"learning_rate\", float(rate[0]) if rate else None)", ("test_keras_h5_hostile.py::test_adams_variables_are_read_in_kerass_order",)),
    Change("weights of half precision are written as float32", _WRITING, "        group.create_dataset(name, data=tensor.numpy())", "        group.create_dataset(name, data=tensor.float().numpy() if tensor.dtype == torch.float16 else tensor.numpy())", ("test_keras_files_written.py::test_a_round_trip_keeps_every_bit",)),
    Change("equal layers share the last one's bias", _MODULES, "rows.append(WeightRow(f\"{layer.name}/bias\", f\"{at}.bias\", transpose=False))", "twin = next(la for _, la in dense[::-1] if la.units == layer.units and la.use_bias)\n            rows.append(WeightRow(f\"{twin.name}/bias\", f\"{at}.bias\", transpose=False))", ("test_keras_files_alike.py::test_what_is_written_stands_where_keras_looks_for_it",)),
    Change("equal layers have their biases swapped as written", _WRITING, "_put(group, str(i), contents.weights[weight])", "same = [n for n, t in contents.weights.items() if t.ndim == 1 and t.shape == contents.weights[weight].shape]\n                _put(group, str(i), contents.weights[same[::-1][same.index(weight)] if weight in same else weight])", ("test_keras_files_alike.py::test_what_is_written_stands_where_keras_looks_for_it",)),
    Change("equal layers have their biases swapped in .h5 as read", _LEGACY, "        weights = {name: weights[name] for name in expected}\n", "        by = {n: [m for m in expected if m.endswith(\"bias\") and expected[m] == expected[n]] for n in expected}\n        weights = {n: weights[by[n][::-1][by[n].index(n)] if n in by[n] else n] for n in expected}\n", ("test_keras_files_alike.py::test_what_keras_wrote_comes_to_the_module_it_belongs_to",)),
    # what both sides of a relation hid
    Change("a small probability as the rest of a large one", _TRAINING, "return torch.sigmoid(outputs) if from_logits else outputs", "return 1 - torch.sigmoid(-outputs) if from_logits else outputs", ("test_training.py::test_predict_gives_probabilities_without_dropout_and_keeps_the_mode",)),
    Change("a small loss lost beside a 1", _LOSSES, "torch.log1p(torch.exp(-logits.abs()))", "torch.log(1 + torch.exp(-logits.abs()))"),
    Change("C++: a small loss lost beside a 1", _CPP, "return std::log1p(e); }", "return std::log(1 + e); }", _OWN_DIGITS),
    Change("C++: a small loss lost beside its logit", _CPP, "(std::max(z, Real(0)) - z * y[r]) + log1p_unit(e)", "std::max(z, Real(0)) + log1p_unit(e) - z * y[r]", _OWN_DIGITS),
    Change("prior log-odds to eight digits", _MODEL, "return math.log(positives / negatives)", "return round(math.log(positives / negatives), 8)"),
    Change("a tenth less than Glorot's limit without a seed", _MODEL, "nn.init.xavier_uniform_(layer.weight)", "nn.init.xavier_uniform_(layer.weight, gain=0.9)"),
    Change("weights of one sign without a seed", _MODEL, "nn.init.xavier_uniform_(layer.weight)", "nn.init.xavier_uniform_(layer.weight).data.abs_()"),
    Change("the learning rate of Adam's group ignored", _ADAM, "self.alpha(kind[0], group, kind[1])", "self.alpha(kind[0], {**group, 'lr': self.defaults['lr']}, kind[1])"),
    Change("the epsilon of Adam's group ignored", _ADAM, 'torch._foreach_add_(scale, group["eps"])', 'torch._foreach_add_(scale, self.defaults["eps"])'),
    Change("the decays of Adam's group ignored", _ADAM, 'beta1, beta2 = group["betas"]\n', 'beta1, beta2 = self.defaults["betas"]\n'),
    Change("C++: the learning rate of Adam's group ignored", _NATIVE, '[group["lr"], *powers', '[self._optimizer.defaults["lr"], *powers', ("test_training.py::test_fit_takes_adams_numbers_as_the_equation_says",)),
    Change("Adam's step size in float16 is a rounded float32", _ADAM, 't = torch.tensor(float(step), dtype=dtype)\n        betas = torch.tensor(group["betas"], dtype=torch.float32).to(dtype)\n        corrections = 1 - betas**t\n        return torch.as_tensor(group["lr"], dtype=dtype) * corrections[1].sqrt() / corrections[0]', 'out, dtype = dtype, torch.promote_types(dtype, torch.float32)\n        t = torch.tensor(float(step), dtype=dtype)\n        betas = torch.tensor(group["betas"], dtype=torch.float32).to(dtype)\n        corrections = 1 - betas**t\n        return (torch.as_tensor(group["lr"], dtype=dtype) * corrections[1].sqrt() / corrections[0]).to(out)', ("test_devices.py",)),
    Change("a seed's weights in float64 by way of float16", _MODEL, "layer.weight.copy_(kernel.T)", "layer.weight.copy_(kernel.T if layer.weight.dtype == torch.float32 else kernel.T.half())"),
    Change("rows of float64 cut off where they should be rounded", _ROWS, "            tensor = torch.as_tensor(np.asarray(values))\n", "            tensor = torch.as_tensor(np.asarray(values))\n            if (tensor.dtype, like.dtype) == (torch.float64, torch.float32):\n                tensor = (tensor.view(torch.int64) & -(2**29)).view(torch.float64)\n", ("test_training.py::test_rows_and_weights_of_float64_are_rounded_to_the_nearest",)),
    Change("tensors of float64 rounded twice", _ROWS, "        tensor = values\n", "        tensor = values if values.dtype == like.dtype else values.bfloat16()\n", ("test_training.py::test_rows_and_weights_of_float64_are_rounded_to_the_nearest",)),
    Change("features in float16 by way of bfloat16", _FEATURES, "return table.clamp(-self.clip, self.clip).to(self._out.dtype)", "return table.clamp(-self.clip, self.clip).to(torch.bfloat16 if self._out.dtype == torch.float16 else self._out.dtype).to(self._out.dtype)"),
    Change("dropout's scale not rounded to half precision", _DROPOUT, "scaled = x * torch.tensor(scale, dtype=x.dtype)", "scaled = x * scale", ("test_training.py::test_dropout_is_where_bit_for_bit_forward_and_backward",)),
    Change("predicted probabilities clipped as the loss clips them", _TRAINING, "return torch.sigmoid(outputs) if from_logits else outputs", "return torch.sigmoid(outputs).clamp(1e-7, 1 - 1e-7) if from_logits else outputs", ("test_training.py::test_predict_gives_probabilities_without_dropout_and_keeps_the_mode",)),
    Change("a real spread enlarged", _FEATURES, "scale = torch.where(constant, 1.0, variance.sqrt())", "scale = torch.where(constant, 1.0, torch.where(variance < 1e-12, 2 * variance, variance).sqrt())"),
    Change("C++: the decays of Adam's group ignored", _NATIVE, 'beta1, beta2 = group["betas"]', 'beta1, beta2 = self._optimizer.defaults["betas"]', ("test_training.py::test_fit_takes_adams_numbers_as_the_equation_says",)),
    Change("C++: the epsilon of Adam's group ignored", _NATIVE, '1 - beta2, group["eps"]]', '1 - beta2, self._optimizer.defaults["eps"]]', ("test_training.py::test_fit_takes_adams_numbers_as_the_equation_says",)),
    Change("momentum and velocity swapped in HDF5 as read", _H5, "momentum=dict(zip(weights, slots[0::2], strict=True)),\n        velocity=dict(zip(weights, slots[1::2], strict=True)),", "momentum=dict(zip(weights, slots[1::2], strict=True)),\n        velocity=dict(zip(weights, slots[0::2], strict=True)),", ("test_keras_h5_hostile.py::test_adams_variables_are_read_in_kerass_order",)),
    Change("momentum and velocity swapped in a checkpoint as read", _SLOTS, "momentum=_tensors(graph, bundle, momentum),\n        velocity=_tensors(graph, bundle, velocity),", "momentum=_tensors(graph, bundle, velocity),\n        velocity=_tensors(graph, bundle, momentum),", ("test_adam_slots_hostile.py::test_adam_is_read_as_each_generation_keeps_it",)),
    Change("every dropout has the first one's rate", _MODULES, "step.append(_dropout(layer))", "step.append(_dropout(next(la for la in network.layers if la.kind == \"Dropout\")))", ("test_keras_files_alike.py::test_what_keras_wrote_comes_to_the_module_it_belongs_to",)),
    Change("activations named as each other", _CONFIG, "                \"activation\": layer.activation,\n                \"use", "                \"activation\": {\"relu\": \"sigmoid\", \"sigmoid\": \"relu\"}.get(layer.activation, \"linear\"),\n                \"use", ("test_keras_config.py::test_what_is_written_of_a_network_is_what_keras_writes",)),
    Change("layers in the order in which the config lists them", _CONFIG, "    return [row for row, then in zip(order, followers, strict=True) if not _casts_for(row, then)]", "    order = sorted(order, key=rows.index)\n    return [row for row, then in zip(order, followers, strict=True) if not _casts_for(row, then)]", ("test_keras_config.py::test_a_functional_model_is_followed_from_its_input",)),
    Change("momentum and velocity swapped as written", _WRITING, "variables[f\"{flat}_momentum\"] = optimizer.momentum[name]\n        variables[f\"{flat}_velocity\"] = optimizer.velocity[name]", "variables[f\"{flat}_momentum\"] = optimizer.velocity[name]\n        variables[f\"{flat}_velocity\"] = optimizer.momentum[name]", ("test_keras_files_written.py::test_a_round_trip_keeps_every_bit",)),
    Change("a resumed optimizer has its decays swapped", _MODULES, "(state.beta_1, state.beta_2), state.epsilon", "(state.beta_2, state.beta_1), state.epsilon", ("test_keras_network.py::test_a_model_and_its_optimizer_come_back_from_a_file",)),
    Change("callbacks are asked in reverse", _TRAINING, "            for callback in callbacks:\n                callback.on_epoch_end(epoch, logs, model)", "            for callback in reversed(callbacks):\n                callback.on_epoch_end(epoch, logs, model)", ("test_training.py::test_callbacks_are_told_of_everything_in_their_order",)),
    Change("a run that ends at once tells no callback", _TRAINING, "    for callback in callbacks:\n        callback.on_train_end(model)\n", "    for callback in callbacks if history.epoch else ():\n        callback.on_train_end(model)\n", ("test_training.py::test_callbacks_are_told_of_everything_in_their_order",)),
    Change("best weights come back on a stop alone where there are several callbacks", _TRAINING, "    for callback in callbacks:\n        callback.on_train_end(model)\n", "    for callback in [c for c in callbacks if c.stop_training] or callbacks:\n        callback.on_train_end(model)\n", ("test_training.py::test_callbacks_are_told_of_everything_in_their_order",)),
    Change("probabilities of float64 by way of float32", _TRAINING, "return torch.sigmoid(outputs) if from_logits else outputs", "return torch.sigmoid(outputs.float()).to(rows.dtype) if from_logits else outputs", ("test_training.py::test_predict_gives_probabilities_without_dropout_and_keeps_the_mode",)),
    Change("a file's square kernel not transposed", _MODULES, 'f"{at}.weight", transpose=True))', 'f"{at}.weight", transpose=layer.units != model.get_parameter(f"{at}.weight").shape[1]))', ("test_keras_network.py",)),
    Change("moments of a file's square kernel not transposed", _MODULES, "slots[name].copy_(tensor.T if row.transpose else tensor)", "slots[name].copy_(tensor.T if row.transpose and tensor.shape != tensor.T.shape else tensor)", ("test_keras_network.py",)),
    Change("a square kernel not transposed for a file", _MODULES, "row.keras: (tensor.T if row.transpose else tensor).clone(", "row.keras: (tensor.T if row.transpose and tensor.shape != tensor.T.shape else tensor).clone(", ("test_keras_network.py",)),
    Change("weights of rows in float64 by way of float32", _TRAINING, 'weights = column(sample_weight, like.numbers, "fit: sample_weight", len(rows))', 'weights = column(sample_weight, like.numbers, "fit: sample_weight", len(rows))\n        weights = weights.float().to(like.numbers.dtype)', _OWN_DIGITS),
    Change("oversampled rows in float32", _SAMPLING, "return rows[taken], labels[taken]", "return rows.astype(np.float32)[taken], labels[taken]", ("test_training.py::test_oversampled_rows_are_the_rows_that_are_drawn",)),
    # the compiled epoch: widths, edges, what is not finite, memory, whoever watches, the cache
    Change("compiled: the last of three features left over gets no gradient", _CPP, "for (; i < F; ++i) backward_kernel1<1>", "for (; i < F - (F % 4 == 3); ++i) backward_kernel1<1>", _EPOCH),
    Change("compiled: the last of two features left over gets no gradient", _CPP, "for (; i < F; ++i) backward_kernel1<1>", "for (; i < F - (F % 4 == 2); ++i) backward_kernel1<1>", _EPOCH),
    Change("compiled: a feature alone in its group gets no gradient", _CPP, "for (; i < F; ++i) backward_kernel1<1>", "for (; i < F - (F % 4 == 1); ++i) backward_kernel1<1>", _EPOCH),
    Change("compiled: three features left over are taken for four", _CPP, "i + 4 <= F; i += 4", "i + 3 <= F; i += 4", _EPOCH),
    Change("compiled: the last of whole groups of four features gets no gradient", _CPP, "i + 4 <= F; i += 4) backward_kernel1<4>(x + i, rows, t, g.kernel1 + i);\n    for (; i < F; ++i)", "i + 4 <= F - (F % 4 == 0); i += 4) backward_kernel1<4>(x + i, rows, t, g.kernel1 + i);\n    for (; F % 4 && i < F; ++i)", _EPOCH),
    Change("compiled: features beyond the thirty-second are not looked at", _CPP, "for (int i = 0; i < F; ++i)", "for (int i = 0; i < (F > 32 ? 32 : F); ++i)", _EPOCH),
    Change("compiled: the last of three rows left over keeps the hidden units of another", _CPP, "for (; r < rows; ++r) forward_hidden<1>", "for (; r < rows - (rows % 4 == 3); ++r) forward_hidden<1>", _EPOCH),
    Change("compiled: units beyond the sixteenth have the biases of the first", _CPP, "sum[r][j] + w.bias1[j]", "sum[r][j] + w.bias1[j % 2]", _EPOCH),
    Change("compiled: units beyond the thirty-second are not in the logit", _CPP, "for (int j = 0; j < LANES; ++j) sum += t.hidden[r][j] * w.kernel2[j];", "for (int j = 0; j < (LANES > 4 ? 4 : LANES); ++j) sum += t.hidden[r][j] * w.kernel2[j];", _EPOCH),
    Change("compiled: units beyond the sixteenth get no bias gradient", _CPP, "bias1[j] += t.dhidden[r][j];", "bias1[j % 2] += t.dhidden[r][j];", _EPOCH),
    Change("compiled: powers of beta stop at three hundred steps", _CPP, "std::pow(a.beta2, Real(t))", "std::pow(a.beta2, Real(std::min<int64_t>(t, 300)))", _EPOCH),
    Change("compiled: the first moment is not corrected after a hundred steps", _CPP, "(1 - std::pow(a.beta1, Real(t)))", "(t > 100 ? Real(1) : 1 - std::pow(a.beta1, Real(t)))", _EPOCH),
    Change("compiled: steps are counted in a byte", _CPP, "adam_step(*adam, iterations + 1, w, m, v, g);", "adam_step(*adam, iterations % 256 + 1, w, m, v, g);", _EPOCH),
    Change("compiled: dropout's calls are counted in a byte", _NATIVE, "stream_start(drop.seed, drop.calls, steps)", "stream_start(drop.seed, drop.calls % 256, steps)", _EPOCH),
    Change("compiled: dropout's calls start anew with each epoch", _NATIVE, "drop.calls += steps", "drop.calls = steps", _EPOCH),
    Change("compiled: Adam's steps start anew with each epoch", _NATIVE, 'state["step"] += steps', 'state["step"].fill_(steps)', _EPOCH),
    Change("compiled: the learning rate stays the one of the start", _NATIVE, '[group["lr"], *powers', '[self._optimizer.defaults["lr"], *powers', _EPOCH),
    Change("compiled: velocity not written back", _CPP, "    std::memcpy(velocity, &v, WEIGHTS * sizeof(Real));\n}", "}", _EPOCH),
    Change("compiled: no gradient through a NaN", _CPP, "h <= 0 ? Lane{} : d", "h > 0 ? d : Lane{}", ("test_compiled_epoch.py::test_what_is_not_finite_spreads_as_far_as_in_the_eager_path_and_no_farther",)),
    Change("compiled: the probability of a NaN is one", _CPP, "x = std::max(x, -87.0f);", "x = std::max(-87.0f, x);", ("test_compiled_epoch.py::test_what_is_not_finite_spreads_as_far_as_in_the_eager_path_and_no_farther",)),
    Change("compiled: the probability of a NaN is one in float64", _CPP, "{ return std::exp(x); }", "{ return std::exp(std::max(-745.0, x)); }", ("test_compiled_epoch.py::test_loss_and_probability_of_any_logit_are_as_near_as_a_librarys",)),
    Change("compiled: a NaN stays in a unit that is dropped", _CPP, "h[i] = (t.words[i] << shift_left) >> 9 >= threshold ? h[i] * scale : Real(0);", "h[i] *= (t.words[i] << shift_left) >> 9 >= threshold ? scale : Real(0);", ("test_compiled_epoch.py::test_what_is_not_finite_spreads_as_far_as_in_the_eager_path_and_no_farther",)),
    Change("compiled: a row of weight 0 has no loss even where it is NaN", _CPP, "weighted += weight[r] * t.loss[r];", "weighted += weight[r] != 0 ? double(weight[r]) * t.loss[r] : 0;", ("test_compiled_epoch.py::test_what_is_not_finite_spreads_as_far_as_in_the_eager_path_and_no_farther",)),
    Change("compiled: a row of weight 0 has no gradient even where it is NaN", _CPP, "t.dlogit[r] *= tile_weight[r]", "t.dlogit[r] = tile_weight[r] != 0 ? t.dlogit[r] * tile_weight[r] : Real(0)", ("test_compiled_epoch.py::test_what_is_not_finite_spreads_as_far_as_in_the_eager_path_and_no_farther",)),
    Change("compiled: a row of weight 0 counts as one of weight 1", _CPP, "t.dlogit[r] *= tile_weight[r]", "t.dlogit[r] *= tile_weight[r] > 0 ? tile_weight[r] : Real(1)", _EPOCH),
    Change("compiled: a NaN is in no bucket", _CPP, "++s.buckets[y[r] > 0][bucket[r]];", "s.buckets[y[r] > 0][bucket[r]] += t.probability[r] == t.probability[r];", ("test_compiled_epoch.py::test_rows_are_counted_where_their_probabilities_are",)),
    Change("compiled: NaN assumed away by the compiler", _NATIVE, '"-fno-math-errno", "-fno-trapping-math",', '"-ffast-math",', ("test_compiled_epoch.py::test_what_is_not_finite_spreads_as_far_as_in_the_eager_path_and_no_farther",)),
    Change("compiled: the loss is flat above a logit of a hundred", _CPP, "t.loss[r] = (std::max(z, Real(0))", "t.loss[r] = (std::max(std::min(z, Real(100)), Real(0))", ("test_compiled_epoch.py::test_loss_and_probability_of_any_logit_are_as_near_as_a_librarys",)),
    Change("compiled: no probability is below e to the minus twenty", _CPP, "x = std::max(x, -87.0f);", "x = std::max(x, -20.0f);", ("test_compiled_epoch.py::test_loss_and_probability_of_any_logit_are_as_near_as_a_librarys",)),
    Change("compiled: the low part of ln 2 has three digits", _CPP, "2.12194440e-4f", "2.12e-4f", ("test_compiled_epoch.py::test_loss_and_probability_of_any_logit_are_as_near_as_a_librarys",)),
    Change("compiled: the logarithm's series begins three terms late", _CPP, "int odd = 13; odd >= 3", "int odd = 7; odd >= 3", ("test_compiled_epoch.py::test_loss_and_probability_of_any_logit_are_as_near_as_a_librarys",)),
    Change("compiled: float32's exponential in float64", _CPP, "{ return std::exp(x); }", "{ return std::exp(float(x)); }", ("test_compiled_epoch.py::test_loss_and_probability_of_any_logit_are_as_near_as_a_librarys",)),
    Change("compiled: float32's logarithm in float64", _CPP, "{ return std::log1p(e); }", "{ return std::log1p(float(e)); }", ("test_compiled_epoch.py::test_loss_and_probability_of_any_logit_are_as_near_as_a_librarys",)),
    Change("compiled: log for log1p in float64", _CPP, "{ return std::log1p(e); }", "{ return std::log(1 + e); }", ("test_compiled_epoch.py::test_loss_and_probability_of_any_logit_are_as_near_as_a_librarys",)),
    Change("compiled: a mean's factor of float32 in float64", _CPP, "Real(1) / Real(batch_rows)", "1.0f / float(batch_rows)", _EPOCH),
    Change("compiled: the scale of a rate that float32 holds", _NATIVE, "real(1 / (1 - drop.rate))", "real(1 / (1 - float(np.float32(drop.rate))))", _EPOCH),
    Change("compiled: the rate is not rounded to float32", _NATIVE, "math.ceil(float(np.float32(drop.rate)) * 2**23)", "math.ceil(drop.rate * 2**23)", _EPOCH),
    Change("compiled: a rate between two draws keeps the lower", _NATIVE, "math.ceil(float(np.float32(drop.rate)) * 2**23)", "math.floor(float(np.float32(drop.rate)) * 2**23)", _EPOCH),
    Change("compiled: a batch goes on for its whole size", _CPP, "std::min<int64_t>(TILE, batch_rows - at)", "std::min<int64_t>(TILE, batch - at)", _BYTES),
    Change("compiled: a row alone in its tile is dropped", _CPP, "at < batch_rows; at += TILE", "at + (at > 0) < batch_rows; at += TILE", _EPOCH),
    Change("compiled: every batch has the first one's weights of rows", _CPP, "weight ? weight + start + at : nullptr", "weight ? weight + at : nullptr", _EPOCH),
    Change("compiled: evaluation adds up its first 4096 rows again", _CPP, "add_up(sums, *totals), sums = {};", "add_up(sums, *totals);", ("test_compiled_epoch.py::test_the_sums_of_equal_rows_are_so_many_times_ones",)),
    Change("compiled: the first two buckets are one", _CPP, "std::max(Real(0), std::ceil", "std::max(Real(1), std::ceil", ("test_compiled_epoch.py::test_rows_are_counted_where_their_probabilities_are",)),
    Change("compiled: the last two buckets are one", _CPP, "std::ceil(p * BUCKETS) - Real(1))", "std::min(Real(BUCKETS - 2), std::ceil(p * BUCKETS) - Real(1)))", ("test_compiled_epoch.py::test_rows_are_counted_where_their_probabilities_are",)),
    Change("compiled: parameters read to the end of their padding", _CPP, "    Weights w, m, v;\n    std::memcpy(&w, weights, WEIGHTS * sizeof(Real));", "    Weights w, m, v;\n    std::memcpy(&w, weights, sizeof w);", _BYTES),
    Change("compiled: moments written to the end of their padding", _CPP, "std::memcpy(momentum, &m, WEIGHTS * sizeof(Real));", "std::memcpy(momentum, &m, sizeof m);", _BYTES),
    Change("compiled: rows written back", _CPP, "            forward_hidden(tile_x, rows, w, t);\n            if", "            forward_hidden(tile_x, rows, w, t);\n            const_cast<Real *>(tile_x)[0] += Real(0);\n            if", _BYTES),
    Change("compiled: the row before is read with each", _CPP, "backward_kernel1<1>(x + i, rows, t, g.kernel1 + i);", "x[i - F] == Real(1e30) ? void() : backward_kernel1<1>(x + i, rows, t, g.kernel1 + i);", _BYTES),
    Change("compiled: the label after the last is read", _CPP, "t.probability[r] = z < 0 ? e * q : q;", "t.probability[r] = z < 0 || (r + 1 == rows && y[r + 1] == Real(1e30)) ? e * q : q;", _BYTES),
    Change("compiled: words for eight units alone", _CPP, "uint32_t words[TILE * H];", "uint32_t words[TILE * 8];", _BYTES),
    Change("compiled: hooks of the optimizer not called", _NATIVE, "for thing in objects]", "for thing in objects[:-1]]", _WATCHED),
    Change("compiled: hooks of all modules not called", _NATIVE, "for kind in (nn.Module, torch.optim.Optimizer)]", "for kind in (torch.optim.Optimizer,)]", _WATCHED),
    Change("compiled: hooks of all optimizers not called", _NATIVE, "for kind in (nn.Module, torch.optim.Optimizer)]", "for kind in (nn.Module,)]", _WATCHED),
    Change("compiled: hooks of a gradient not called", _NATIVE, '("_backward_hooks", "_post_accumulate_grad_hooks")', '("_post_accumulate_grad_hooks",)', _WATCHED),
    Change("compiled: hooks after a gradient not called", _NATIVE, '("_backward_hooks", "_post_accumulate_grad_hooks")', '("_backward_hooks",)', _WATCHED),
    Change("compiled: replaced methods not called", _NATIVE, "return hooked or any(", "return hooked or False and any(", _WATCHED),
    Change("compiled: a subclass taken for the plain model", _NATIVE, "type(model) is FraudClassifier and", "isinstance(model, FraudClassifier) and", _DERIVED),
    Change("compiled: a subclass taken for the plain optimizer", _NATIVE, "and type(optimizer) is KerasAdam)", "and isinstance(optimizer, KerasAdam))", _DERIVED),
    Change("compiled: the path is chosen once and for all", _TRAINING, "native = NativeEpoch.create(model, optimizer, rows) if compiled else None", "native = native if epoch > first else NativeEpoch.create(model, optimizer, rows) if compiled else None", _WATCHED),
    Change("compiled: the module's mode is left alone", _TRAINING, "            model.train()\n            part", "            None if native else model.train()\n            part", ("test_compiled_epoch.py::test_a_callback_finds_the_module_in_training",)),
    Change("compiled: a build is named without its source", _NATIVE, "sha256(source + repr(", "sha256(repr(", _NAMED),
    Change("compiled: a build is named without its processor", _NATIVE, "repr((command, _processor()))", 'repr((command, ""))', _NAMED),
    Change("compiled: a build is named without its flags and compiler", _NATIVE, "repr((command, _processor()))", "repr((shape, _processor()))", _NAMED),
    Change("compiled: a build is named without its dtype", _NATIVE, "repr((command, _processor()))", "repr((command[:-1], _processor()))", _NAMED),
    Change("compiled: a build is made anew in every process", _NATIVE, "if not target.exists():", "if True:", _NAMED),
    # whatever people bring
    Change("a sigmoid on every prediction", _TRAINING, "return torch.sigmoid(outputs) if from_logits else outputs", "return torch.sigmoid(outputs)"),
    Change("a linear end taken for logits", "torch_impl/keras_files/modules.py", "self.ends_in_sigmoid = bool(ends) and isinstance(ends[0][-1], nn.Sigmoid)", "self.ends_in_sigmoid = True"),
    Change("raw rows rounded before they are scaled", _ROWS, "return Like(numbers.double() if raw else numbers, numbers)", "return Like(numbers, numbers)"),
    Change("a state_dict's options are not taken over", _FEATURES, "        self._set_options(len(self.mean), clip, log_column, offset)\n", "", ("test_features.py",)),
    Change("a checkpoint goes on with other rows", _CHECKPOINT, 'if name != "order" and saved.get(name) != value', 'if name not in ("order", "x") and saved.get(name) != value'),
    Change("a digest of the first rows alone", _CHECKPOINT, "plain = tensor.detach()", "plain = tensor[:7].detach()"),
    Change("a checkpoint is not locked", _CHECKPOINT, "            self._lock.acquire(timeout=0)\n", "            pass\n"),
    Change("a run without a seed goes on in another order", _TRAINING, '                order_seed = run["order"]\n', ""),
    Change("weights of validation rows count in the metrics", _TRAINING, "                losses = losses * weights[start : start + batch_size]\n", "                losses = losses * weights[start : start + batch_size]\n                logits = logits * weights[start : start + batch_size]\n", ("test_training.py::test_validation_rows_may_have_weights",)),
    Change("best weights bring dropout's count of calls back", _CALLBACKS, '            if not name.endswith("_extra_state")\n', "", ("test_recorded.py", "test_checkpoint.py")),
    Change("the other end of a config's guess", "torch_impl/keras_files/modules.py", 'ends = "sigmoid" if units == 1 else "linear"', 'ends = "sigmoid"', ("test_keras_files_found.py",)),
    Change("a guess is not told", "torch_impl/keras_files/api.py", "    for note in contents.notes:\n", "    for note in ():\n", ("test_keras_files_found.py",)),
    Change("a loaded model in training mode", "torch_impl/keras_files/modules.py", "    return model.eval()\n", "    return model\n", ("test_keras_files_found.py",)),
    Change("weights to an architecture's layers in reverse", "torch_impl/keras_files/modules.py", "renamed = dict(zip(came, expected, strict=True))", "renamed = dict(zip(came, reversed(expected), strict=True))", ("test_keras_files_found.py",)),
    Change("an old file stays as long as the link to it", _REPLACING, "    path = path.resolve()\n", "", ("test_replacing.py",)),
    Change("a mode of its own for every new file", _REPLACING, "            os.chmod(part, _mode(path))\n", "", ("test_replacing.py",)),
    Change("checksums of Parquet are not looked at", "data/load.py", "parquet.read_table(path, page_checksum_verification=True)", "parquet.read_table(path)", ("test_data_load.py",)),
    Change("a table without Time is refused", "data/schema.py", '_UNSEEN = ("Time", "id")', '_UNSEEN = ("id",)', ("test_data_load.py",)),
    Change("a constant column's bound divides by nothing", "parity_tests/bounds.py", "np.where(constant, *pair) for pair", "np.where(False, *pair) for pair", ("test_data_prepare.py",)),
)  # fmt: skip

HARMLESS = (
    Change("C++: logits summed in another order", _CPP, "((sum[0] + sum[4]) + (sum[2] + sum[6])) + ((sum[1] + sum[5]) + (sum[3] + sum[7]))", "((sum[0] + sum[1]) + (sum[2] + sum[3])) + ((sum[4] + sum[5]) + (sum[6] + sum[7]))"),
    Change("C++: smaller tiles of rows", _CPP, "TILE = 64", "TILE = 32"),
    Change("C++: no contraction into fused multiply-adds", _NATIVE, '"-fno-math-errno", "-fno-trapping-math",', '"-fno-math-errno", "-fno-trapping-math", "-ffp-contract=off",'),
    Change("as many threads as there are", _TRAINING, "            torch.set_num_threads(1)\n", "            torch.set_num_threads(threads)\n"),
    Change("another batch size at inference", _TRAINING, "batch_size: int = 8192,\n    from_logits", "batch_size: int = 97,\n    from_logits"),
    Change("validation in other batches", _TRAINING, "        \"\"\"Loss and metrics without dropout.\"\"\"\n        return _evaluate(self.model, rows, labels, weights, batch_size, metrics)", "        return _evaluate(self.model, rows, labels, weights, 33, metrics)"),
    Change("validation rows in reverse", _ROWS, "    return rows.contiguous(), labels, weights\n", "    return rows.flip(0).contiguous(), labels.flip(0).contiguous(), None if weights is None else weights.flip(0)\n"),
    Change("masks of one call at a time", _DROPOUT, "_CALLS_AHEAD = 16", "_CALLS_AHEAD = 1"),
    Change("swaps of a shuffle in smaller parts", _RANDOM, "_SWAPS = 2**16", "_SWAPS = 7"),
    Change("shuffled rows at inference", _TRAINING, "            model(rows[start : start + batch_size])\n", "            model(rows[start : start + batch_size].flip(0)).flip(0)\n"),
    Change("a compiled module at inference", _TRAINING, "            model(rows[start : start + batch_size])\n", "            torch.compile(model, backend=\"eager\")(rows[start : start + batch_size])\n"),
    Change("features as columns of memory", _MODEL, "self.activation(self.hidden(x))", "self.activation(self.hidden(x.mT.contiguous().mT if x.ndim > 1 else x))"),
    Change("one parameter at a time in Adam", _ADAM, "        torch._foreach_sub_(w, change)", "        for one, step in zip(w, change, strict=True):\n            one.sub_(step)"),
)  # fmt: skip
