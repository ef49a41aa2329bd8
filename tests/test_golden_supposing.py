"""Ports without names or weights whose mistake changes what follows what: paired off as if it were made, it's named."""

import numpy as np
import pytest
from golden_ports import BY_NAME, golden_and_network, port

from mobilevit_np.golden import diagnose
from mobilevit_np.golden.matching import NAMELESS


def nameless(names, dtype=np.float32):
    golden, network = golden_and_network()
    found = port(golden, network, [BY_NAME[name] for name in names])
    return golden, {f"t{i}": tensor.astype(dtype) for i, tensor in enumerate(found.values())}, network


@pytest.mark.parametrize(("name", "dtype"), [("post_norm", np.float32), ("no_feed_forward_residual", np.float16)])
def test_a_mistake_that_leads_the_order_astray_is_named(name, dtype):
    diagnosis = diagnose(*nameless([name], dtype))
    assert diagnosis.names == (name,)
    assert not diagnosis.left_over
    assert diagnosis.comparison.how == NAMELESS
    assert len(diagnosis.comparison.rows) == len(golden_and_network()[0].noise) + 1


def test_what_no_mistake_explains_stays_as_it_was_found():
    golden, theirs, network = nameless(["post_norm"])
    last = list(theirs)[-1]
    theirs[last] = theirs[last] * 1.5
    diagnosis = diagnose(golden, theirs, network)
    assert diagnosis.left_over
    assert diagnosis.unexplained[-1].hint == "it's 1.5 times the right tensor"


@pytest.mark.parametrize(
    ("pattern", "replacement", "path", "hint"),
    [
        (
            "*.transformer.layer.0",
            lambda compute, x, *rest: compute(compute(x, *rest), *rest),
            "mobilevit.encoder.layer.2.transformer.layer.0",
            "mobilevit.encoder.layer.2.transformer.layer.0 is run twice",
        ),
        (
            "*.layernorm*",
            lambda compute, x, scope, eps: (
                (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + eps) * scope["weight"]
                + scope["bias"]
            ),
            "mobilevit.encoder.layer.2.transformer.layer.0.layernorm_before",
            "the layer norm is over the tokens, not the features",
        ),
    ],
)
def test_what_has_no_name_gets_no_wrong_one(pattern, replacement, path, hint):
    """Channels last, without names or weights, and a layer's second call recorded as the first."""
    golden, network = golden_and_network()
    seen = []
    scope = network.scope(np.float32).wrap(pattern, replacement)
    pixels = golden.tensors["pixel_values"].astype(np.float32)
    network.run(pixels, scope.listen(lambda path, x: seen.append(x.copy())))
    theirs = {f"t{i}": x.transpose(0, 2, 3, 1) if x.ndim == 4 else x for i, x in enumerate(seen)}
    diagnosis = diagnose(golden, theirs, network)
    assert not diagnosis.findings
    assert [(each.path, each.hint) for each in diagnosis.unexplained] == [(path, hint)]
