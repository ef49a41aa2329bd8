"""What a classifier says of a photo against transformers' ImageClassificationPipeline, for every kind of problem.

Both read one folder and compute in float64. From one photo the scores agree to 1e-8 (the pixels are rounded to float32
there, and not here), from the same logits to 1e-12.
"""

import numpy as np
import pytest
import torch
import transformers
from PIL import Image
from tiny import photo, save_tiny
from transformers.models.mobilevit.image_processing_pil_mobilevit import MobileViTImageProcessorPil

from mobilevit_np import Classifier

KINDS = (None, "regression", "single_label_classification", "multi_label_classification")
CASES = [(kind, classes) for kind in KINDS for classes in (1, 2, 7) if (kind, classes) != (KINDS[2], 1)]


@pytest.mark.parametrize(("kind", "classes"), CASES)
def test_scores_labels_and_their_order(tmp_path, kind, classes):
    fields = {} if kind is None else {"problem_type": kind}
    labels = [f"class {i}" for i in range(classes)]
    folder = save_tiny(tmp_path / "w", labels=labels, fields={**fields, "dtype": "float64"})
    model = transformers.MobileViTForImageClassification.from_pretrained(folder, dtype=torch.float64)
    processor = MobileViTImageProcessorPil.from_pretrained(folder, resample=2)
    theirs = transformers.pipeline("image-classification", model=model, image_processor=processor)
    ours = Classifier.from_pretrained(folder, dtype=np.float64)
    for top in (1, 5, 99):
        expected = theirs(Image.fromarray(photo()), top_k=top)
        answer = ours(photo(), top=top)
        assert [p.label for p in answer.predictions] == [each["label"] for each in expected]
        scores = [p.score for p in answer.predictions]
        np.testing.assert_allclose(scores, [each["score"] for each in expected], rtol=1e-8, atol=1e-8)
        exactly = theirs.postprocess({"logits": torch.from_numpy(answer.logits)[None]}, top_k=top)
        np.testing.assert_allclose(scores, [each["score"] for each in exactly], rtol=1e-12, atol=1e-12)
