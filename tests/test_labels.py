"""The class names: counts, order, and which are given to whom."""

from mobilevit_np.labels import LABEL_COUNTS, VOC_LABELS, imagenet_labels, labels_for


def test_imagenet_in_the_order_of_the_synsets():
    names = imagenet_labels()
    assert len(names) == 1000
    assert {names[0], names[281], names[999]} == {
        "tench, Tinca tinca", "tabby, tabby cat", "toilet tissue, toilet paper, bathroom tissue",
    }  # fmt: skip
    assert names[281] == "tabby, tabby cat"
    assert all(name == name.strip() and name.isprintable() and name for name in names)
    assert [names.index("crane"), len(set(names))] == [134, 999]  # the bird; the machine, 517, has the same name


def test_voc():
    assert len(VOC_LABELS) == len(set(VOC_LABELS)) == 21
    assert (VOC_LABELS[0], VOC_LABELS[8], VOC_LABELS[15]) == ("background", "cat", "person")


def test_labels_for():
    assert labels_for(1000) == imagenet_labels()
    assert labels_for(21, segmenter=True) == VOC_LABELS
    assert labels_for(3) == ("0", "1", "2")
    assert labels_for(21)[20] == "20"
    assert labels_for(1000, segmenter=True)[999] == "999"


def test_counts_of_the_published_networks():
    assert (LABEL_COUNTS["classifier"], LABEL_COUNTS["segmenter"]) == (len(imagenet_labels()), len(VOC_LABELS))
