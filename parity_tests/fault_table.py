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
_RANDOM = "torch_impl/keras_random.py"
_SAMPLING = "torch_impl/sampling.py"
_TRAINING = "torch_impl/training.py"
_REPLACING = "torch_impl/replacing.py"
_ROWS = "torch_impl/rows.py"
_WEIGHTS = "torch_impl/keras_weights.py"

_RECORDED = "test_recorded.py::test_torch_"
_DRAWS = f"{_RECORDED}draws_what_keras_drew"
_PASSES = f"{_RECORDED}computes_what_keras_computed"
_STEPS = f"{_RECORDED}takes_the_step_that_keras_took"
_HALF = ("test_training.py::test_a_probability_of_one_half_is_no_positive",)
_RUNS = f"{_RECORDED}trains_as_keras_trained"
_COMPILED = "test_recorded.py::test_compiled_epoch_takes_the_step_that_keras_took"

_FIRST = {
    _DATA: ["test_data_prepare.py"],
    "data/schema.py": ["test_data_load.py"],
    _CALLBACKS: ["test_recorded.py::test_early_stopping_stops_and_restores_where_keras_did", _RUNS],
    _CHECKPOINT: ["test_checkpoint.py"],
    _REPLACING: ["test_checkpoint.py"],
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
    Change("dropout left on in predict_proba", _MODEL, "torch.sigmoid(self.output(self._hidden_activations(x)))", "torch.sigmoid(self.output(self.dropout(self._hidden_activations(x))))"),
    Change("probabilities through tanh with half the slope", _MODEL, "torch.sigmoid(self.output(self._hidden_activations(x)))", "0.5 + 0.5 * torch.tanh(0.25 * self.output(self._hidden_activations(x)))"),
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
    Change("dropout not scaled", _DROPOUT, "_Scaled.apply(x, mask, 1 / (1 - self.rate))", "_Scaled.apply(x, mask, 1.0)"),
    Change("dropout scaled by the share dropped", _DROPOUT, "_Scaled.apply(x, mask, 1 / (1 - self.rate))", "_Scaled.apply(x, mask, 1 / self.rate)"),
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
    Change("class weights swapped", _LOSSES, "weights[labels == label] = weight", "weights[labels != label] = weight"),
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
    Change("class weight in the metrics", _TRAINING, "                totals.update(logits, y)\n        return _logs(loss_sum, len(rows), totals, rows.dtype)\n\n    def", "                totals.update(logits if weights is None else logits * weights[batch], y)\n        return _logs(loss_sum, len(rows), totals, rows.dtype)\n\n    def"),
    Change("eager epoch reports the unweighted loss", _TRAINING, "loss_sum += loss.detach().double() * len(y)", "loss_sum += losses.detach().double().sum()"),
    Change("compiled epoch reports the unweighted loss", _TRAINING, '_native_logs(totals, "weighted_loss", rows, metrics)', '_native_logs(totals, "loss", rows, metrics)'),
    Change("validation with dropout", _TRAINING, "            module.training = False\n", "            pass\n"),
    Change("validation rows are the training rows", _TRAINING, "measured = epoch_engine.evaluate(*held_out, batch_size, metrics)", "measured = epoch_engine.evaluate(rows[part], labels[part], batch_size, metrics)"),
    Change("history in float64", _TRAINING, "held = torch.float64 if dtype == torch.float64 else torch.float32", "held = torch.float64", ("test_training.py::test_history_holds_what_float32_held",)),
    Change("every epoch takes the first steps again", _TRAINING, "start = epoch % epochs_per_pass * steps * batch_size", "start = 0"),
    Change("mode of the module not put back", _TRAINING, "with _own_modes(model), _few_threads(model), ", "with _few_threads(model), ", ("test_training.py::test_fit_leaves_the_mode_of_the_module_as_it_was",)),
    # early stopping and checkpoints
    Change("patience off by one", _CALLBACKS, "elif self.wait >= self.patience:", "elif self.wait > self.patience:"),
    Change("best weights not restored", _CALLBACKS, "            model.load_state_dict(self.best_weights)", "            pass"),
    Change("best weights restored only on stopping", _CALLBACKS, "if self.restore_best_weights and self.best_weights is not None:", "if self.restore_best_weights and self.best_weights is not None and self.stop_training:"),
    Change("best weights are no copy", _CALLBACKS, "v.detach().clone()", "v.detach()"),
    Change("min_delta ignored", _CALLBACKS, "np.float32(current - self.sign * self.min_delta)", "np.float32(current)"),
    Change("direction of what is monitored ignored", _CALLBACKS, 'self.sign = -1.0 if mode == "min" or (mode == "auto" and name in _DOWN) else 1.0', "self.sign = 1.0"),
    Change("checkpoint written in place", _REPLACING, 'part = path.with_name(path.name + ".part")', "part = path", ("test_checkpoint.py::test_a_kill_while_writing_leaves_the_old_checkpoint",)),
    Change("dropout count not restored", _CHECKPOINT, "            layer.calls = calls\n", "            pass\n"),
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
    Change("C++: gradient flows through units at zero", _CPP, "h > 0 ? d : Lane{}", "h >= 0 ? d : Lane{}"),
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
    Change("scaler fitted on all rows", _DATA, "StandardScaler().fit(_cleaned(train))", "StandardScaler().fit(_cleaned(frame))", ("test_data_prepare.py::test_scaler_sees_the_training_rows_alone",)),
    Change("train and validation swapped", _DATA, "    train, validation = train_test_split(", "    validation, train = train_test_split(", ("test_data_prepare.py::test_splits_share_no_row_and_lose_none",)),
    Change("labels as integers", _DATA, '.to_numpy(dtype=np.float32).reshape(-1, 1)', '.to_numpy().reshape(-1, 1)'),
    Change("clip at four", _DATA, "_CLIP = 5.0", "_CLIP = 4.0"),
    Change("another offset of the logarithm", _DATA, "_EPS = 0.001", "_EPS = 0.01"),
    Change("negative amounts let through", "data/schema.py", 'refuse(table["Amount"] < 0,', 'refuse(table["Amount"] < -1e9,'),
    # thirty of another hand; those marked live are in the reference and the proof itself
    Change("the metric clips what the loss does not", _METRICS, "loss = binary_crossentropy_from_logits(logits, labels).sum(dtype=torch.float64)", "loss = binary_crossentropy_from_logits(logits, labels).clamp(max=16.118).sum(dtype=torch.float64)"),
    Change("a pass in steps drops its last short batch", _TRAINING, "return slice(start, min(start + steps * batch_size, rows))", "return slice(start, min(start + steps * batch_size, rows // batch_size * batch_size))"),
    Change("class weights cut off to whole numbers", _LOSSES, "weights[labels == label] = weight", "weights[labels == label] = int(weight)"),
    Change("a loss over no more than a thousand rows", _TRAINING, 'logs = {"loss": float(loss_sum) / max(rows, 1)}', 'logs = {"loss": float(loss_sum) / max(min(rows, 1000), 1)}'),
    Change("a run with a seed draws from torch's generator all the same", _TRAINING, "        if seed is None:\n            seed = int(torch.randint(2**32, ()))", "        drawn = int(torch.randint(2**32, ()))\n        if seed is None:\n            seed = drawn"),
    Change("the rows trained on are changed in place", _TRAINING, "rows, labels = rows[order], labels[order]", "rows[:], labels[:] = rows[order], labels[order]"),
    Change("Adam moves parameters that have no gradient", _ADAM, 'parameters = [p for p in group["params"] if p.grad is not None]', 'parameters = [p for p in group["params"] if p.grad is not None or self.state.get(p)]\n                for p in parameters:\n                    p.grad = torch.zeros_like(p) if p.grad is None else p.grad'),
    Change("Adam's moments start at the first gradient", _ADAM, "change = torch._foreach_sub(g, m)", 'if kinds[0][0] == 1:\n            torch._foreach_add_(m, g)\n        change = torch._foreach_sub(g, m)'),
    Change("beta as float64 holds it in Adam's corrections", _ADAM, 'betas = torch.tensor(group["betas"], dtype=torch.float32).to(dtype)', 'betas = torch.tensor(group["betas"], dtype=dtype)'),
    Change("C++: beta as float64 holds it in Adam's corrections", _NATIVE, "powers = np.float32(beta1), np.float32(beta2)", "powers = beta1, beta2"),
    Change("a learning rate larger by 1e-7 of itself", _ADAM, 'return torch.as_tensor(group["lr"], dtype=dtype) *', 'return torch.as_tensor(group["lr"] * (1 + 1e-7), dtype=dtype) *'),
    Change("C++: a learning rate larger by 1e-7 of itself", _NATIVE, '[group["lr"], *powers', '[group["lr"] * (1 + 1e-7), *powers'),
    Change("rows taken backwards", _TRAINING, "order = shuffle_permutation(seed, len(rows)).to(rows.device)", "order = shuffle_permutation(seed, len(rows)).flip(0).to(rows.device)"),
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
)  # fmt: skip

HARMLESS = (
    Change("C++: logits summed in another order", _CPP, "((sum[0] + sum[4]) + (sum[2] + sum[6])) + ((sum[1] + sum[5]) + (sum[3] + sum[7]))", "((sum[0] + sum[1]) + (sum[2] + sum[3])) + ((sum[4] + sum[5]) + (sum[6] + sum[7]))"),
    Change("C++: smaller tiles of rows", _CPP, "TILE = 64", "TILE = 32"),
    Change("C++: no contraction into fused multiply-adds", _NATIVE, '"-fno-math-errno", "-fno-trapping-math",', '"-fno-math-errno", "-fno-trapping-math", "-ffp-contract=off",'),
    Change("as many threads as there are", _TRAINING, "            torch.set_num_threads(1)\n", "            torch.set_num_threads(threads)\n"),
    Change("another batch size at inference", _TRAINING, "def predict(model: nn.Module, x: ArrayLike | Tensor, *, batch_size: int = 8192)", "def predict(model: nn.Module, x: ArrayLike | Tensor, *, batch_size: int = 97)"),
    Change("validation in other batches", _TRAINING, "_evaluate(self.model, rows, labels, batch_size, metrics)", "_evaluate(self.model, rows, labels, 33, metrics)"),
    Change("validation rows in reverse", _ROWS, "    return rows.contiguous(), labels\n", "    return rows.flip(0).contiguous(), labels.flip(0).contiguous()\n"),
    Change("masks of one call at a time", _DROPOUT, "_CALLS_AHEAD = 16", "_CALLS_AHEAD = 1"),
    Change("swaps of a shuffle in smaller parts", _RANDOM, "_SWAPS = 2**16", "_SWAPS = 7"),
    Change("shuffled rows at inference", _TRAINING, "            torch.sigmoid(model(rows[start : start + batch_size]))\n", "            torch.sigmoid(model(rows[start : start + batch_size].flip(0)).flip(0))\n"),
    Change("a compiled module at inference", _TRAINING, "            torch.sigmoid(model(rows[start : start + batch_size]))\n", "            torch.sigmoid(torch.compile(model, backend=\"eager\")(rows[start : start + batch_size]))\n"),
    Change("features as columns of memory", _MODEL, "self.activation(self.hidden(x))", "self.activation(self.hidden(x.mT.contiguous().mT if x.ndim > 1 else x))"),
    Change("one parameter at a time in Adam", _ADAM, "        torch._foreach_sub_(w, change)", "        for one, step in zip(w, change, strict=True):\n            one.sub_(step)"),
)  # fmt: skip
