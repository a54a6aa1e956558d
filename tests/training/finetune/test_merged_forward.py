"""Runs in the training environment: the rounded weights in training equal the served ones."""

from __future__ import annotations

import copy
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is in the training environment, not in this one")
peft = pytest.importorskip("peft", reason="PEFT is in the training environment")

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from training.finetune.merged_forward import MergedForward, fake_quantize  # noqa: E402
from training.quantize.awq import dequantize, pack, round_to_grid  # noqa: E402

GROUP = 8


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([1e-3, 1.0, 30.0]), st.sampled_from([torch.float32, torch.bfloat16]))
def test_a_group_keeps_sixteen_values_each_within_half_a_step(seed: int, scale: float, dtype: Any) -> None:
    torch.manual_seed(seed)
    weight = (torch.randn(4, 4 * GROUP) * scale).to(dtype)
    weight[:, ::GROUP], weight[:, 1::GROUP] = weight[:, ::GROUP].abs(), -weight[:, 1::GROUP].abs()  # as AWQ expects
    became = fake_quantize(weight, GROUP)
    assert became.dtype == dtype
    assert became.shape == weight.shape
    was, groups = weight.float().reshape(-1, GROUP), became.float().reshape(-1, GROUP)
    step = (was.amax(1) - was.amin(1)) / 15
    error = (was - groups).abs().amax(1)
    assert bool((error <= 0.75 * step + 0.02 * was.abs().amax(1)).all())
    assert max(len(group.unique()) for group in groups) <= 16


@pytest.fixture
def model() -> Any:
    torch.manual_seed(0)
    layers = torch.nn.Sequential(torch.nn.Linear(16, 32), torch.nn.Tanh(), torch.nn.Linear(32, 8, bias=False))
    adapted = peft.get_peft_model(layers, peft.LoraConfig(r=2, lora_alpha=4, target_modules=["0", "2"]))
    for name, weight in adapted.named_parameters():
        if "lora" in name:
            torch.nn.init.normal_(weight, std=0.2)
    return adapted


def merged_and_rounded(model: Any, x: Any) -> Any:
    for layer in (model.base_model.model[0], model.base_model.model[2]):
        weight = (
            layer.base_layer.weight.bfloat16() + layer.get_delta_weight("default")
        ).bfloat16()  # as merging stores it
        x = torch.nn.functional.linear(x, fake_quantize(weight.float(), GROUP), layer.base_layer.bias)
        x = torch.tanh(x) if layer is model.base_model.model[0] else x
    return x


def test_layers_answer_as_their_merged_weight_does_rounded(model: Any) -> None:
    x = torch.randn(3, 16)
    plain = model(x)
    MergedForward(model, GROUP)
    torch.testing.assert_close(model(x), merged_and_rounded(model, x))
    assert (model(x) - plain).abs().max() > 1e-3


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_what_is_rounded_in_training_is_what_is_merged_and_packed_bit_for_bit(model: Any, dtype: Any) -> None:
    """Whatever dtype the base is trained in: it is merged by PEFT in bf16, and packed from there."""
    stored = copy.deepcopy(model.get_base_model()).to(torch.bfloat16)
    for name in ("0", "2"):
        trained, merged = (whole.get_submodule(name) for whole in (model.get_base_model(), stored))
        for part in ("lora_A", "lora_B"):
            getattr(merged, part).load_state_dict(getattr(trained, part).state_dict(), assign=True)
        trained.base_layer.weight.data = merged.base_layer.weight.data.to(dtype, copy=True)
        merged.merge()
    for layer in MergedForward(model, GROUP)._layers:
        name = "0" if layer._layer is model.get_base_model()[0] else "2"
        packed = dequantize(pack(round_to_grid(stored.get_submodule(name).base_layer.weight.data, GROUP)))
        assert torch.equal(layer._merged(), packed.to(dtype))


def test_layers_to_keep_answer_as_before(model: Any) -> None:
    x = torch.randn(3, 16)
    plain = model(x)
    MergedForward(model, GROUP, keep=["0"])
    first = model.base_model.model[0]
    torch.testing.assert_close(first(x), first.base_layer(x) + x @ first.get_delta_weight("default").T)
    assert (model(x) - plain).abs().max() > 1e-4
    with pytest.raises(ValueError, match="keep names every layer"):
        MergedForward(model, GROUP, keep=["0", "2"])


def test_the_rounded_weight_follows_the_optimizer(model: Any) -> None:
    rounding, x = MergedForward(model, GROUP), torch.randn(3, 16)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1, fused=True)
    before = model(x)
    before.square().sum().backward()
    optimizer.step()
    rounding.on_step_end()
    torch.testing.assert_close(model(x), merged_and_rounded(model, x))
    assert (model(x) - before).abs().max() > 1e-3


def test_gradients_pass_the_rounding_unchanged(model: Any) -> None:
    """A single layer's gradient does not depend on the weight's own value, so it is LoRA's to the last bit."""
    layer, x = model.base_model.model[2], torch.randn(3, 32)
    layer(x).sum().backward()
    wanted = [layer.lora_A["default"].weight.grad.clone(), layer.lora_B["default"].weight.grad.clone()]
    model.zero_grad()
    MergedForward(model, GROUP)
    layer(x).sum().backward()
    torch.testing.assert_close([layer.lora_A["default"].weight.grad, layer.lora_B["default"].weight.grad], wanted)


@pytest.mark.parametrize("bias", [True, False])
def test_without_rounding_outputs_and_gradients_are_loras(model: Any, bias: bool) -> None:
    layer = model.base_model.model[0 if bias else 2]
    x = torch.randn(2, 5, layer.in_features, requires_grad=True)

    def run() -> list[Any]:
        output = layer(x)
        weights = [layer.lora_A["default"].weight, layer.lora_B["default"].weight]
        return [output.detach(), *torch.autograd.grad(output.square().sum(), [x, *weights])]

    wanted = run()
    MergedForward(model)
    torch.testing.assert_close(run(), wanted, rtol=1e-4, atol=1e-5)
