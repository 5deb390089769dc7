"""Layers as onnxruntime runs them: the same functions as PyTorch's, in the form that exports have."""

import pytest
import torch
from networks import SIZE, toy_generator
from torch import nn

pytest.importorskip("onnxruntime")

from ganprune.cost.latency import IDLE, Layer, find_segments
from ganprune.deploy import layers as module
from ganprune.deploy.layers import channel_block, onnxruntime_engine
from ganprune.errors import UserError
from ganprune.filters.space import FilterSpace


@pytest.mark.slow
def test_onnxruntime_computes_the_layers_in_blocks_of_this_cpu():
    assert channel_block() in (1, 4, 8, 16)


@pytest.mark.slow
@torch.no_grad()
def test_each_layer_is_run_as_an_export_has_it(monkeypatch):
    generator = toy_generator(blocks=1)
    segments = find_segments(generator, FilterSpace(generator, size=SIZE), SIZE)
    layers = {
        path: each.narrowed(*each.axes[0][-1:], *each.axes[1][-1:], torch.zeros(1)) for path, each in segments.items()
    }
    given, models = module.to_onnx, []
    monkeypatch.setattr(module, "to_onnx", lambda *args: models.append(given(*args)) or models[-1])
    engine = onnxruntime_engine()
    calls = engine.calls(layers)
    assert list(calls) == [*layers, IDLE]
    for path, layer in layers.items():
        assert torch.allclose(torch.from_numpy(calls[path]()[0]), layer.module(layer.image), atol=1e-4)
    counts = [node.op_type for node in models[-1].graph.node]
    norms = sum(isinstance(each, nn.InstanceNorm2d) for each in generator.modules())
    assert counts.count("InstanceNormalization") == norms and counts.count("ReduceMean") == 1  # only images are centred
    assert counts.count("DepthToSpace") == 1  # only the last layer is computed in blocks of pixels


def test_layers_that_onnx_cannot_express_are_refused_with_the_way_out(monkeypatch):
    def refuse(*args):
        raise NotImplementedError("no such operator")

    monkeypatch.setattr(module, "channel_block", lambda: 16)
    monkeypatch.setattr(module, "to_onnx", refuse)
    layer = Layer(nn.Conv2d(3, 4, 3), torch.zeros(1, 3, 8, 8), first=False, last=False)
    with pytest.raises(UserError, match="layers that ONNX can express") as caught:
        onnxruntime_engine().calls({"odd": layer})
    assert "no such operator" in str(caught.value) and "Use --target pytorch." in str(caught.value)
