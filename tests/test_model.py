"""The reference engine by itself: any photo, any batch, clear errors. (Against transformers: test_reference_*.py.)"""

import numpy as np
import pytest
from examples import Network
from parameters import draw, photo

from mobilevit_np.config import TASKS, VARIANTS, NetworkConfig
from mobilevit_np.engines import compile_network
from mobilevit_np.errors import InputError
from mobilevit_np.model import NETWORKS, backbone, classifier
from mobilevit_np.scope import Scope

HEADS = ("classifier", "segmenter")
SIDES = [(32, 32), (64, 48), (33, 47), (7, 5), (1, 1), (1, 40), (90, 2)]


def halved(side, times):
    for _ in range(times):
        side = (side + 1) // 2
    return side


@pytest.mark.parametrize("size", SIDES, ids=str)
@pytest.mark.parametrize("output_stride", [32, 16, 8])
@pytest.mark.parametrize("head", HEADS)
def test_any_size_gives_maps_that_halve_rounding_up(head, output_stride, size):
    net = Network.build(head)
    config = NetworkConfig(**{**vars(net.config), "output_stride": output_stride})
    network = compile_network("reference", head, net.scope, config)
    logits, hidden_states = network(photo(config, size), hidden_states=True)
    assert np.array_equal(logits, network(photo(config, size)))
    last = {32: 5, 16: 4, 8: 3}[output_stride]
    for i, state in enumerate(hidden_states):
        expected = [halved(side, min(i + 1, last)) for side in size]
        assert state.shape == (1, config.neck_hidden_sizes[1 + i], *expected)
    expected = (1, 5) if head == "classifier" else (1, 5, *[halved(side, last) for side in size])
    assert logits.shape == expected
    assert np.isfinite(logits).all()


@pytest.mark.parametrize("head", HEADS)
def test_photos_of_a_batch_do_not_see_each_other(head):
    net = Network.build(head)
    x = net.photo(3, 37, 50)
    together = NETWORKS[head](x, net.scope, net.config)
    for i in range(3):
        alone = NETWORKS[head](x[i : i + 1], net.scope, net.config)
        np.testing.assert_allclose(together[i : i + 1], alone, rtol=0, atol=1e-12 * np.abs(alone).max())


@pytest.mark.parametrize("variant", VARIANTS)
def test_variants_run(variant):
    config = NetworkConfig(**VARIANTS[variant], num_labels=7)
    scope = Scope(draw(config, "classifier", dtype=np.float32))
    network = compile_network("reference", "classifier", scope, config)
    logits, hidden_states = network(photo(config, (48, 40), dtype=np.float32), hidden_states=True)
    assert logits.shape == (1, 7)
    assert [state.shape[1] for state in hidden_states] == config.neck_hidden_sizes[1:6]


def test_no_labels_leaves_the_pooled_features():
    net = Network.build()
    x = net.photo(2, 20, 20)
    features = backbone(x, net.scope / "mobilevit", net.config)
    config = NetworkConfig(**{**vars(net.config), "num_labels": 0})
    pooled = classifier(x, net.scope, config)
    np.testing.assert_allclose(pooled, features.mean(axis=(2, 3)), rtol=1e-12)


def test_without_the_expansion_the_last_map_is_l5s():
    net = Network.build()
    x, body = net.photo(1, 40, 40), net.scope / "mobilevit"
    network = compile_network("reference", "backbone", body, net.config, expand_output=False)
    features, hidden_states = network(x, hidden_states=True)
    np.testing.assert_array_equal(features, hidden_states[-1])
    assert len(hidden_states) == 5
    assert backbone(x, body, net.config).shape[1] == net.config.neck_hidden_sizes[6]


@pytest.mark.parametrize("head", HEADS)
def test_the_whole_backbone_can_be_replaced(head):
    net = Network.build(head)
    x, given = net.photo(1, 40, 40), []

    def double(compute, pixel_values, scope, config, **options):
        given.append(pixel_values)
        return 2 * compute(pixel_values, scope, config, **options)

    heard = {}
    scope = net.scope.wrap("mobilevit", double).listen(lambda path, output: heard.setdefault(path, output))
    answer = NETWORKS[head](x, scope, net.config)
    features = backbone(x, net.scope / "mobilevit", net.config, expand_output=head == "classifier")
    assert given[0] is x
    np.testing.assert_array_equal(heard["mobilevit"], 2 * features)
    assert heard[""] is answer
    assert (answer != NETWORKS[head](x, net.scope, net.config)).any()


@pytest.mark.parametrize(
    ("pixel_values", "message"),
    [
        (np.zeros((3, 8, 8)), r"\(3, 8, 8\)"),
        (np.zeros((1, 3, 8, 8), np.uint8), "uint8"),
        (np.zeros((1, 3, 8, 8), complex), "complex"),
        (np.zeros((1, 8, 8, 3)), "channels"),
        (np.zeros((1, 4, 8, 8)), "4 channels"),
        (np.zeros((0, 3, 8, 8)), "no pixel"),
        (np.zeros((1, 3, 0, 8)), "no pixel"),
    ],
)
@pytest.mark.parametrize("head", HEADS)
def test_what_is_no_batch_of_photos_is_named(head, pixel_values, message):
    net = Network.build(head)
    with pytest.raises(InputError, match=message):
        NETWORKS[head](pixel_values, net.scope, net.config)


def test_every_task_has_its_network():
    assert set(NETWORKS) == set(TASKS)
