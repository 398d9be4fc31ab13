"""A replay equals its function bit for bit, on new numbers too, whatever operators it is made of."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from tiny_arrays import bits
from torch import Tensor

from gan_core.execution.replay import Pool, Replay
from gan_core.execution.trace import trace, unchanged
from gan_core.lanes.axis import lanewise
from gan_core.lanes.products import lane_matmul
from gan_core.networks.call import Call
from gan_core.networks.layers import BatchNorm, Convolution, Linear, SpectralNorm
from gan_core.networks.weightless_layers import Maxout, elu

Tensors = dict[str, Tensor]
Function = Callable[[Tensors], None]
CALL = Call((1e-5, 0.8), (0.1, 0.5), (), training=True, seeds=(1, 2))


def numbers(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def given(seed: int = 0) -> Tensors:
    """Two lanes of numbers of many shapes, to read and to write."""
    shapes = {
        "x": (2, 13, 7),
        "y": (2, 13, 7),
        "weight": (2, 7, 9),
        "maps": (2, 5, 3, 8, 8),
        "kernel": (2, 4, 3, 4, 4),
        "mean": (2, 7),
        "variance": (2, 7),
        "scale": (2, 7),
        "shift": (2, 7),
        "out": (2, 13, 7),
        "product": (2, 13, 9),
        "convolved": (2, 5, 4, 4, 4),
        "sums": (2, 5),
        "u": (2, 9),
        "v": (2, 7),
        "gradient": (2, 7, 9),
        "kernel_gradient": (2, 4, 3, 4, 4),
    }
    tensors = {name: numbers(*shape, seed=100 * seed + i) for i, (name, shape) in enumerate(shapes.items())}
    tensors["variance"].abs_()
    return tensors


def leaf(tensor: Tensor) -> Tensor:
    return tensor.detach().requires_grad_()


def _views(t: Tensors) -> None:
    turned = t["x"].transpose(1, 2).reshape(2, 91).view(2, 7, 13).mT[:, ::2]
    t["out"].zero_()
    t["out"][:, :7].copy_(turned.flip(0) + t["y"].narrow(1, 3, 7).expand(2, 7, 7))
    t["sums"].copy_(t["x"].unsqueeze(1).squeeze(1).diagonal(dim1=1, dim2=2)[:, :5])


def _in_place(t: Tensors) -> None:
    kept = t["x"] * 2
    kept[:, 3:5].mul_(t["y"][:, 3:5]).add_(1)
    kept.clamp_(-1, 1)
    t["x"].add_(kept)  # what is read is written
    t["x"][1, :, 2:4].zero_()
    t["out"].copy_(t["x"] - kept)


def _written_twice(t: Tensors) -> None:
    t["out"].copy_(t["x"])
    before = t["out"] * 3
    t["out"].copy_(t["y"].exp())
    t["x"].copy_(before + t["out"])


def _batch_norm(t: Tensors) -> None:
    x = leaf(t["x"])
    names = {"running_mean": "mean", "running_var": "variance", "weight": "scale", "bias": "shift"}
    made = BatchNorm(7)({name: t[mine] for name, mine in names.items()}, x, CALL)
    t["out"].copy_(made.detach())
    t["y"].copy_(torch.autograd.grad((made**3).sum(), x)[0])


def _running_moments(t: Tensors) -> None:
    made = [F.batch_norm(t["x"][i], t["mean"][i], t["variance"][i], t["scale"][i], None, False) for i in range(2)]
    t["out"].copy_(torch.stack(made))


def _convolution(t: Tensors) -> None:
    kernel = leaf(t["kernel"])
    made = Convolution(3, 4, 4, 2, 1)({"weight": kernel}, t["maps"], CALL)
    t["convolved"].copy_(made.detach())
    t["kernel_gradient"].copy_(torch.autograd.grad(made.square().sum(), kernel)[0])


def _double_backward(t: Tensors) -> None:
    x, weight = leaf(t["x"]), leaf(t["weight"])
    hidden = elu({}, lane_matmul(x, weight), CALL)
    (gradient,) = torch.autograd.grad(lanewise(torch.tanh, hidden).sum(), x, create_graph=True)
    penalty = ((gradient.flatten(2).square().sum(2) + 1e-12).sqrt() - 1).square().mean(1)
    t["sums"][:, 0].copy_(penalty.detach())
    t["gradient"].copy_(torch.autograd.grad(penalty.sum(), weight)[0])


def _convolution_twice(t: Tensors) -> None:
    maps, kernel = leaf(t["maps"]), leaf(t["kernel"])
    made = Convolution(3, 4, 4, 2, 1)({"weight": kernel}, maps, CALL)
    (gradient,) = torch.autograd.grad(F.leaky_relu(made, 0.2).square().sum(), maps, create_graph=True)
    t["kernel_gradient"].copy_(torch.autograd.grad(gradient.square().sum(), kernel)[0])


def _spectral(t: Tensors) -> None:
    weight = leaf(t["weight"])
    layer = SpectralNorm(Linear(7, 9, bias=False))
    made = layer({"weight": weight, "u": t["u"], "v": t["v"]}, t["x"], CALL)
    t["product"].copy_(made.detach())
    t["gradient"].copy_(torch.autograd.grad(made.square().sum(), weight)[0])


def _maxout(t: Tensors) -> None:
    x = leaf(t["x"])
    made = Maxout(7)({}, x, CALL)
    t["sums"].copy_(made.detach()[:, :5, 0])
    t["out"].copy_(torch.autograd.grad(made.square().sum(), x)[0])


def _gathered(t: Tensors) -> None:
    order = t["x"].argsort(1)
    values, places = t["y"].max(1)
    t["out"].copy_(t["y"].gather(1, order) + values.unsqueeze(1))
    t["sums"].copy_(places[:, :5] + torch.cat((t["mean"], t["shift"]), 1).topk(5, 1).values)


def _several_results(t: Tensors) -> None:
    variance, mean = torch.var_mean(t["x"], dim=1)
    first, second, third = t["y"].split((2, 4, 1), 2)
    t["mean"].copy_(mean)
    t["scale"].copy_(variance)
    t["out"].copy_(torch.cat((third, second * 2, first.sigmoid()), 2))


def _constants(t: Tensors) -> None:
    ladder = torch.arange(7, dtype=torch.float32)
    table = torch.tensor([[1.0], [2.0]]).unsqueeze(2)
    filled = torch.zeros_like(t["x"])
    filled[:, 0] = 1  # a constant that is written into is none
    filled.add_(torch.ones(2, 1, 7) * ladder.square())
    t["out"].copy_(t["x"] * ladder.exp().mul(2) + table + filled)
    t["y"].copy_(filled)


def _empty_memory(t: Tensors) -> None:
    place = torch.empty_like(t["x"])
    place[:, :6].copy_(t["y"][:, 7:])
    place[:, 6:].copy_(t["x"][:, :7].tanh())
    t["out"].copy_(place)


def _relus_and_losses(t: Tensors) -> None:
    x = leaf(t["x"])
    loss = F.softplus(x).mean(2) + F.relu(x - 0.1).mean(2) + F.logsigmoid(x).square().mean(2)
    loss = loss + torch.where(t["y"] > 0, x.abs(), x.clamp(-0.5, 0.5)).sum(2)
    t["out"].copy_(torch.autograd.grad(loss.sum(), x)[0])
    t["sums"].copy_(loss.detach()[:, :5])


def _aligned_pads(t: Tensors) -> None:
    x = F.pad(t["x"].reshape(2, -1), (0, 5)).log1p().nan_to_num()
    t["out"].copy_(lanewise(torch.sin, x[:, :91].view(2, 13, 7)))
    t["product"].copy_(torch.baddbmm(t["product"], t["x"], t["weight"], alpha=0.5))


CELLS = torch.nn.RNN(7, 9, batch_first=True)


def _turned_in_place(t: Tensors) -> None:
    """Calls that change the shape of the tensor itself, of an input and of a value, and a layer that makes them."""
    x = t["x"].view(2, 13, 7).transpose_(1, 2).unsqueeze_(1)
    turned = (t["y"] * 2).transpose_(0, 2).squeeze_()
    inner = leaf(t["x"])
    outputs = CELLS(inner)[0]
    t["product"].copy_(outputs.detach())
    t["out"].copy_(torch.autograd.grad(outputs.square().sum(), inner)[0] + x.squeeze(1).mT + turned.transpose_(0, 2))


FUNCTIONS: dict[str, Function] = {
    function.__name__.strip("_"): function
    for function in (
        _views,
        _in_place,
        _written_twice,
        _batch_norm,
        _running_moments,
        _convolution,
        _double_backward,
        _convolution_twice,
        _spectral,
        _maxout,
        _gathered,
        _several_results,
        _constants,
        _empty_memory,
        _relus_and_losses,
        _aligned_pads,
        _turned_in_place,
    )
}


def all_bits(tensors: Tensors) -> dict[str, bytes]:
    return {name: bits(tensor) for name, tensor in tensors.items()}


def filled(tensors: Tensors, seed: int) -> None:
    for name, tensor in given(seed).items():
        tensors[name].copy_(tensor)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_replay_equals_its_function_bit_for_bit_again_and_again_and_on_new_numbers(name: str):
    function, mine, theirs = FUNCTIONS[name], given(), given()
    replay = Replay(trace(function, mine), mine, Pool())
    assert all_bits(mine) == all_bits(theirs)  # to trace and to plan changes nothing
    for call in range(5):
        if call % 2:
            for tensors in (mine, theirs):
                filled(tensors, call)
        before = all_bits(mine)
        replay()
        function(theirs)
        assert all_bits(mine) == all_bits(theirs)
        assert call in (2, 4) or all_bits(mine) != before


def test_a_trace_is_replayed_on_other_tensors_and_each_replay_keeps_to_its_own():
    function, pool, chunks = FUNCTIONS["double_backward"], Pool(), [given(seed) for seed in range(3)]
    graph = trace(function, chunks[0])
    replays = [Replay(graph, tensors, pool) for tensors in chunks]
    for i in (2, 0, 1, 0):
        expected = [all_bits(tensors) for tensors in chunks]
        copy = {name: tensor.clone() for name, tensor in chunks[i].items()}
        function(copy)
        expected[i] = all_bits(copy)
        replays[i]()
        assert [all_bits(tensors) for tensors in chunks] == expected


def _overlapping(t: Tensors) -> None:
    """Sixty values of one size that live for 1 to 40 calls more, so that each place is taken again at once."""
    alive = [t["x"], t["y"]]
    total = torch.zeros_like(t["x"])
    for i in range(60):
        value = (alive[i * 7 % len(alive)] * (1 + i / 60)).sin() + alive[-1]
        total = total + alive.pop(i * 5 % len(alive)) if i % 3 == 2 else total
        alive.append(value.mT.contiguous().mT if i % 4 else value)
    for value in alive:
        total = total - value
    t["out"].copy_(total)
    t["x"].copy_(alive[len(alive) // 2])


def test_memory_that_is_used_again_holds_what_is_still_to_be_read():
    mine, theirs, pool = given(), given(), Pool()
    replay = Replay(trace(_overlapping, mine), mine, pool)
    one = 4 * mine["x"].numel()
    assert 20 * one < pool.bytes < 60 * one  # of about 240 values
    for _ in range(3):
        replay()
        _overlapping(theirs)
        assert all_bits(mine) == all_bits(theirs)


def test_a_chain_needs_the_memory_of_two_values():
    def chain(t: Tensors) -> None:
        x = t["x"]
        for _ in range(30):
            x = x.sin() * 1.01
        t["sums"].copy_(x[:, :5, 0])

    mine, pool = given(), Pool()
    Replay(trace(chain, mine), mine, pool)
    assert pool.bytes <= 2 * 4 * mine["x"].numel()


def test_what_is_replayed_reads_and_writes_the_tensors_it_was_given_and_no_copies():
    def function(t: Tensors) -> None:
        t["out"].copy_(t["x"] + t["y"])
        t["out"][:, 0].mul_(2)

    tensors = given()
    addresses = {name: tensor.data_ptr() for name, tensor in tensors.items()}
    replay = Replay(trace(function, tensors), tensors, Pool())
    tensors["x"].fill_(1)
    tensors["y"].fill_(2)
    replay()
    tensors["x"][0, 0, 0] = 8
    tensors["x"][1, 5, 3] = 9
    replay()
    expected = torch.full_like(tensors["out"], 3)
    expected[:, 0] = 6
    expected[0, 0, 0], expected[1, 5, 3] = 20, 11
    assert torch.equal(tensors["out"], expected)
    assert {name: tensor.data_ptr() for name, tensor in tensors.items()} == addresses


def _gradients(t: Tensors) -> None:
    x, weight = leaf(t["x"]), leaf(t["weight"])
    product = lane_matmul(x, weight)
    gradients = torch.autograd.grad(product.square().sum(), [x, weight])
    t["out"].copy_(gradients[0])
    t["gradient"].copy_(gradients[1])


def _copied_twice(t: Tensors) -> None:
    made = t["x"].sin()
    t["out"].copy_(made)
    t["y"].copy_(made)


def _copied_and_read(t: Tensors) -> None:
    made = t["x"].sin()
    t["out"].copy_(made)
    t["y"].copy_(made.cos())


def _copied_from_within(t: Tensors) -> None:
    both = torch.cat((t["x"], t["y"]), 1).sin()
    t["out"].copy_(both[:, 13:])
    t["y"].copy_(both[:, :13])


def _copied_over_what_is_read_later(t: Tensors) -> None:
    made = t["x"].sin()
    before = t["out"] * 2
    t["out"].copy_(made)
    t["y"].copy_(before)


def _written_before_the_copy(t: Tensors) -> None:
    made = t["x"].sin()
    made.add_(1)
    made[:, 2].mul_(3)
    t["out"].copy_(made.view(2, 91).view(2, 13, 7))


def _copied_from_an_input(t: Tensors) -> None:
    t["out"].copy_(t["x"])
    t["x"].add_(1)


def _copied_as_another_type(t: Tensors) -> None:
    t["out"].copy_(t["x"].double().sin())


def _copied_wider(t: Tensors) -> None:
    t["out"].copy_(t["x"].sum(1, keepdim=True))


@pytest.mark.parametrize(
    "function",
    [
        _gradients,
        _copied_twice,
        _copied_and_read,
        _copied_from_within,
        _copied_over_what_is_read_later,
        _written_before_the_copy,
        _copied_from_an_input,
        _copied_as_another_type,
        _copied_wider,
    ],
)
def test_a_result_that_is_computed_where_it_is_wanted_is_the_one_that_would_be_copied(function: Function):
    mine, theirs = given(), given()
    replay = Replay(trace(function, mine), mine, Pool())
    for call in range(3):
        replay()
        function(theirs)
        assert all_bits(mine) == all_bits(theirs), call


def test_a_result_that_is_only_copied_into_an_input_needs_no_memory_of_its_own():
    def function(t: Tensors) -> None:
        t["out"].copy_(t["x"].sin())

    tensors, pool = given(), Pool()
    Replay(trace(function, tensors), tensors, pool)
    assert pool.bytes == 0
    Replay(trace(_copied_from_within, tensors), tensors, pool)
    assert pool.bytes > 0


def test_tensors_get_back_the_values_they_had_also_where_they_share_memory_and_after_nan():
    whole = numbers(2, 6, 3)
    tensors = {"real": whole[:, :3], "both": whole, "fake": whole[:, 3:], "row": whole[1], "one": whole[0, 0, :1]}
    before = bits(whole)
    with unchanged(tensors):
        tensors["both"].fill_(torch.nan)
        tensors["fake"].zero_()
        tensors["one"].fill_(7)
        assert bits(whole) != before
    assert bits(whole) == before


def test_replays_of_tensors_that_share_memory_equal_the_function():
    def function(t: Tensors) -> None:
        t["fake"].copy_(t["latents"].tanh())
        t["sums"].copy_(t["both"].square().sum(2))
        t["real"].add_(t["both"].mean(1, keepdim=True))

    def tensors() -> Tensors:
        both = numbers(2, 6, 3)
        views = {"both": both, "real": both[:, :3], "fake": both[:, 3:]}
        return {**views, "latents": numbers(2, 3, 3, seed=1), "sums": numbers(2, 6)}

    mine, theirs = tensors(), tensors()
    replay = Replay(trace(function, mine), mine, Pool())
    for _ in range(3):
        replay()
        function(theirs)
        assert all_bits(mine) == all_bits(theirs)


def test_a_result_is_not_computed_where_it_is_wanted_while_that_memory_is_still_read_under_another_name():
    def function(t: Tensors) -> None:
        made = t["latents"].tanh()
        t["sums"].copy_(t["both"].square().sum(2))  # before the fakes come
        t["fake"].copy_(made)
        t["latents"].mul_(1.5)

    def tensors() -> Tensors:
        both = numbers(2, 6, 3)
        return {"both": both, "fake": both[:, 3:], "latents": numbers(2, 3, 3, seed=1), "sums": numbers(2, 6)}

    mine, theirs = tensors(), tensors()
    replay = Replay(trace(function, mine), mine, Pool())
    for _ in range(3):
        replay()
        function(theirs)
        assert all_bits(mine) == all_bits(theirs)


def test_a_replay_meets_nan_and_infinity_as_the_function_does():
    mine, theirs = given(), given()
    replay = Replay(trace(_relus_and_losses, mine), mine, Pool())
    for tensors in (mine, theirs):
        tensors["x"][0, 0] = torch.nan
        tensors["x"][1, 2:4] = torch.inf
        tensors["x"][1, 5] = -0.0
    replay()
    _relus_and_losses(theirs)
    assert all_bits(mine) == all_bits(theirs)
    assert bool(mine["sums"].isnan().any())
