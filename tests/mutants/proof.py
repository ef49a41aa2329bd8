"""Each mistake against the assertion that guards it: what tests/test_reference_transformers.py asserts, no other.

A mistake in the network is guarded by all activations recorded from transformers, one in preprocessing by the pixel
values recorded from its image processor.
"""

from collections.abc import Callable

import recorded
from agreement import assert_agree

from mobilevit_np.golden.mistakes import MISTAKES, Mistake
from mobilevit_np.scope import Scope

# Where each mistake is looked for: a fixture on which it shows. Those not named here show on the first.
FIXTURES = {
    **{mistake.name: "preprocessing" for mistake in MISTAKES if mistake.golden == "PHOTO"},
    "tensorflow_same_padding": "segmenter_16",  # 24x40: even sides
    "dilated_conv_kxk": "segmenter_16",
    "silu_for_relu": "segmenter_16",
    "atrous_rates_doubled": "segmenter_8",  # its rates are 1, 3 and 4
    "aspp_order": "segmenter_8",
    "layer_norm_over_tokens": "tokens_as_features",
    "eight_heads": "tokens_as_features",
}
FLOAT64_ONLY = {"batch_norm_before_unfold"}  # in float32 its 5e-6 is within the tolerance of 1e-5
Plant = Callable[[Scope], Scope]


def guard(fixture: str, dtype: str, plant: Plant = lambda scope: scope) -> None:
    """The assertion: raises AssertionError unless the network (or preprocessing) agrees with what was recorded."""
    if fixture == "preprocessing":
        recorded.assert_pixel_values(plant(Scope({})))
    else:
        oracle = recorded.load(fixture)
        assert_agree(oracle.trace(plant(oracle.scope(dtype))), oracle.outputs, dtype)


def fixture_of(mistake: Mistake) -> str:
    return FIXTURES.get(mistake.name, recorded.NAMES[0])


def why_killed(mistake: Mistake, dtype: str) -> str | None:
    """What the guard says with the mistake in place; None where it says nothing: the mutant survives."""
    try:
        guard(fixture_of(mistake), dtype, mistake.plant)
    except AssertionError as error:
        return str(error).splitlines()[0]
    return None


def report() -> tuple[list[str], int]:
    """A line per mutant and a total, and how many survive."""
    lines, killed = [], 0
    for mistake in MISTAKES:
        dtypes = ["float64"] if mistake.name in FLOAT64_ONLY else ["float64", "float32"]
        why = [why_killed(mistake, dtype) for dtype in dtypes]
        killed += None not in why
        verdict = "SURVIVES" if None in why else "killed"
        lines.append(f"{mistake.name:26} {verdict:9} {fixture_of(mistake):19} {why[0] or ''}")
    lines.append(f"{killed} of {len(MISTAKES)} known port mistakes killed")
    return lines, len(MISTAKES) - killed
