"""The image processor against transformers 4.46.3, whose answers are recorded in fixtures/: equal bit for bit."""

import json

import pytest
from fixtures.record_image_processor import CASES, FILE, run

from mobilevit_np.huggingface.image_processing import MobileViTImageProcessor

RECORDED = json.loads(FILE.read_text())


def test_every_case_is_recorded_with_the_versions_that_made_it():
    assert RECORDED["versions"]["transformers"] == "4.46.3"
    assert RECORDED["cases"].keys() == CASES.keys()


@pytest.mark.filterwarnings("ignore:the pixel values lie in 0..1 already")
@pytest.mark.parametrize("name", CASES)
def test_equals_the_recording(name):
    assert run(MobileViTImageProcessor, *CASES[name]) == RECORDED["cases"][name]
