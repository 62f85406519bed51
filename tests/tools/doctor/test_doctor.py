"""Every kind of fault is found in a made-up set, with its ids."""

import json

import cv2
import numpy as np
import pytest
import simplejpeg
from pycocotools import mask as coco_mask

from tests.helpers.commands import run_command
from yolact_jax.config import Config
from yolact_jax.data.sources.coco_builder import prepare_coco
from yolact_jax.tools.anchor_fit import overlaps
from yolact_jax.tools.commands import doctor
from yolact_jax.tools.commands.main import main
from yolact_jax.tools.doctor.examine import examine, report
from yolact_jax.tools.doctor.findings import Finding

SIDE = 64


class MadeUp:
    """Two splits of two pictures, with one square object each."""

    def __init__(self, root):
        self.root = root
        self.content = {split: self._content(split) for split in ("train", "val")}

    def _content(self, split):
        folder = self.root / split
        folder.mkdir(parents=True)
        first = 1 if split == "train" else 3
        images, annotations = [], []
        for image_id in (first, first + 1):
            pixels = np.full((SIDE, SIDE, 3), 50 * image_id, np.uint8)
            pixels[16:40, 16:40] = 255
            (folder / f"{image_id}.jpg").write_bytes(simplejpeg.encode_jpeg(pixels))
            size = {"height": SIDE, "width": SIDE}
            images.append({"id": image_id, "file_name": f"{image_id}.jpg", **size})
            annotations.append(self.annotation(image_id, image_id, [16, 16, 24, 24]))
        return {
            "images": images,
            "annotations": annotations,
            "categories": [{"id": 1, "name": "cat"}],
        }

    @staticmethod
    def annotation(annotation_id, image_id, box):
        x, y, width, height = box
        corners = [x, y, x + width, y, x + width, y + height, x, y + height]
        return {
            "id": annotation_id,
            "image_id": image_id,
            "category_id": 1,
            "bbox": box,
            "area": width * height,
            "iscrowd": 0,
            "segmentation": [corners],
        }

    def write(self):
        for split, content in self.content.items():
            (self.root / f"{split}.json").write_text(json.dumps(content))

    def arguments(self):
        return {
            "annotations": self.root / "train.json",
            "images": self.root / "train",
            "validation_annotations": self.root / "val.json",
            "validation_images": self.root / "val",
        }

    def findings(self, changes=None):
        self.write()
        arguments = {
            name if name.startswith("validation") else f"train_{name}": value
            for name, value in self.arguments().items()
        }
        dataset = prepare_coco(
            data_dir=self.root / "records", skip_bad=True, **arguments
        )
        changes = {"data.input_size": 64, **(changes or {})}
        return list(examine(dataset, Config().replace(changes)))


@pytest.fixture
def made_up(tmp_path):
    return MadeUp(tmp_path)


def only(found, level, check):
    """The text of the only finding that is no note, which has level and check."""
    serious = [finding for finding in found if finding.level != "note"]
    assert [(f.level, f.check) for f in serious] == [(level, check)], found
    return serious[0].text


def test_sound_set_has_only_notes(made_up):
    assert {finding.level for finding in made_up.findings()} == {"note"}


def test_broken_image(made_up):
    file = made_up.root / "train" / "2.jpg"
    file.write_bytes(file.read_bytes()[:300])
    assert "2.jpg" in only(made_up.findings(), "problem", "unusable")


def test_missing_file(made_up):
    (made_up.root / "val" / "3.jpg").unlink()
    text = only(made_up.findings(), "problem", "unusable")
    assert "image 3 " in text
    assert "3.jpg" in text


def test_polygon_of_two_points(made_up):
    made_up.content["train"]["annotations"][1]["segmentation"] = [[1, 1, 2, 2]]
    assert "annotation 2 of image 2" in only(made_up.findings(), "problem", "unusable")


@pytest.mark.parametrize(
    "segmentation",
    [[[5, 5, 25, 25, 15, 15]], {"size": [SIDE, SIDE], "counts": [SIDE * SIDE]}],
)
def test_outline_without_area(made_up, segmentation):
    made_up.content["val"]["annotations"][0]["segmentation"] = segmentation
    found = made_up.findings()
    (degenerate,) = (f for f in found if f.check == "degenerate outline")
    assert degenerate.level == "warning"
    assert "image 3 (3.jpg), annotation 3 " in degenerate.text
    assert any(f.check == "invisible" for f in found)


def test_box_that_reaches_out(made_up):
    annotation = made_up.annotation(2, 2, [40, 40, 24, 26])
    made_up.content["train"]["annotations"][1] = annotation
    text = only(made_up.findings(), "warning", "box outside")
    assert "image 2 (2.jpg), annotation 2 " in text


BOXES = {
    "two corners": ([16, 16, 40, 40], True),
    "fractions of the image": ([0.25, 0.25, 0.375, 0.375], False),
    "another image size": ([32, 32, 32, 32], False),
    "center and size": ([28, 28, 24, 24], False),
}


@pytest.mark.parametrize("kind", BOXES)
def test_box_that_contradicts_its_outline(made_up, kind):
    box, is_corners = BOXES[kind]
    made_up.content["train"]["annotations"][1]["bbox"] = box
    found = [f for f in made_up.findings() if f.check == "box contradicts outline"]
    (finding,) = found
    assert finding.level == "warning"
    assert "image 2 (2.jpg), annotation 2 " in finding.text
    assert "spans x from 16.0 to 40.0 and y from 16.0 to 40.0" in finding.text
    assert ("two corners" in finding.text) == is_corners


def test_box_drawn_by_hand_around_a_mask_is_no_contradiction(made_up):
    mask = np.zeros((SIDE, SIDE), np.uint8, order="F")
    mask[10:50, 4:40] = 1
    encoded = coco_mask.encode(mask)
    made_up.content["train"]["annotations"][1] |= {
        "segmentation": {**encoded, "counts": encoded["counts"].decode()},
        "bbox": [2.5, 9, 37, 43],
    }
    # Outlines and boxes that overshoot are compared within the image.
    made_up.content["val"]["annotations"][0] |= {
        "segmentation": [[-30, 10, 30, 10, 30, 40, -30, 40]],
        "bbox": [0, 10, 30, 30],
    }
    assert {finding.level for finding in made_up.findings()} == {"note"}


@pytest.mark.parametrize(("crowds", "level"), [((1,), "note"), ((1, 2), "warning")])
def test_crowds_are_counted(made_up, crowds, level):
    for entry in made_up.content["train"]["annotations"]:
        entry["iscrowd"] = int(entry["id"] in crowds)
    (finding,) = [f for f in made_up.findings() if f.check == "crowds"]
    assert finding.level == level
    expected = (
        f"train: {len(crowds)} of 2 annotations are crowds (iscrowd 1), which are"
    )
    assert finding.text.startswith(expected)
    assert "set `iscrowd` to 0" in finding.text


def test_first_image_without_objects_is_legal(made_up):
    del made_up.content["train"]["annotations"][0]
    del made_up.content["val"]["annotations"][:]
    found = made_up.findings()
    assert {finding.level for finding in found} == {"note"}
    assert any("image 2 has most annotations, 1," in finding.text for finding in found)


def test_box_wholly_outside(made_up):
    made_up.content["train"]["annotations"][1]["bbox"] = [100, 10, 5, 5]
    text = only(made_up.findings(), "problem", "unusable")
    assert "annotation 2 of image 2" in text


def test_class_without_objects(made_up):
    for content in made_up.content.values():
        content["categories"].append({"id": 2, "name": "dog"})
    found = [f for f in made_up.findings() if f.check == "class imbalance"]
    assert [f.text[: f.text.index(",")] for f in found] == [
        "train: class 'dog' has 0 objects",
        "validation: class 'dog' has 0 objects",
    ]


def test_gap_in_the_ids(made_up):
    made_up.content["train"]["annotations"][1]["id"] = 12
    (gap,) = (f for f in made_up.findings() if f.check == "id gaps")
    assert gap.text == "train: annotation ids from 1 to 12 leave out 10 numbers."


def test_same_image_in_both_splits(made_up):
    data = (made_up.root / "train" / "2.jpg").read_bytes()
    (made_up.root / "val" / "4.jpg").write_bytes(data)
    text = only(made_up.findings(), "problem", "duplicate image")
    assert "train 2 (2.jpg), validation 4 (4.jpg)" in text


def test_same_image_twice_in_a_split(made_up):
    data = (made_up.root / "train" / "2.jpg").read_bytes()
    (made_up.root / "train" / "1.jpg").write_bytes(data)
    text = only(made_up.findings(), "warning", "duplicate image")
    assert "train 1 (1.jpg), train 2 (2.jpg)" in text


@pytest.mark.parametrize(
    ("ring", "is_flat"),
    [
        ([10, 10, 50, 50, 50, 10, 10, 50], False),  # An eight.
        ([10, 10, 50, 50, 30, 30], True),
        ([10, 10, 50, 10, 50, 40, 50, 10], True),  # There and back.
        ([10, 10, 10, 10, 10, 10], True),
    ],
)
def test_outlines_without_area(made_up, ring, is_flat):
    made_up.content["train"]["annotations"][1]["segmentation"] = [ring]
    found = [f for f in made_up.findings() if f.check == "degenerate outline"]
    assert len(found) == is_flat


def test_object_that_no_anchor_can_match(made_up):
    annotation = made_up.annotation(2, 2, [4, 30, 50, 6])
    made_up.content["train"]["annotations"][1] = annotation
    text = only(made_up.findings(), "warning", "unmatched")
    assert "annotations 2 of image 2" in text


def test_object_that_atss_leaves_out(made_up):
    """Centers are in rows 28 and 36 on P3, 24 and 40 on P4, 32 on P6."""
    annotation = made_up.annotation(2, 2, [4, 29, 50, 2])
    made_up.content["train"]["annotations"][1] = annotation
    text = only(made_up.findings({"loss.assignment": "atss"}), "warning", "unmatched")
    assert "annotations 2 of image 2" in text
    assert "hold no center of an anchor" in text


def test_object_dropped_for_its_box(made_up):
    made_up.content["train"]["annotations"][1]["bbox"] = [20, 20, 0, 9]
    text = only(made_up.findings(), "warning", "dropped")
    assert "annotations 2 of image 2" in text


def test_object_with_its_center_outside_of_the_image(made_up):
    annotation = made_up.annotation(2, 2, [-30, 20, 50, 20])
    made_up.content["train"]["annotations"][1] = annotation
    found = made_up.findings()
    assert not [finding for finding in found if finding.check == "dropped"]
    (text,) = [finding.text for finding in found if finding.check == "off center"]
    assert "annotations 2 of image 2" in text
    assert "only trained on in views that reach there" in text
    found = made_up.findings({"augment.expand": False})
    (text,) = [finding.text for finding in found if finding.check == "off center"]
    assert "and are not trained on" in text


def test_object_of_less_than_the_least_area(made_up):
    made_up.content["train"]["annotations"][1] = made_up.annotation(2, 2, [9, 9, 6, 6])
    for least, checks in ((35, set()), (37, {"too small"})):
        found = made_up.findings({"augment.min_object_px": least})
        assert {finding.check for finding in found} & {"too small"} == checks


@pytest.mark.parametrize("target", ["center", "coverage"])
def test_masks_of_objects_are_those_that_training_learns(made_up, target):
    """A strip along the borders of cells holds none of their centers."""
    annotation = made_up.annotation(2, 2, [16, 15, 30, 2])
    made_up.content["train"]["annotations"][1] = annotation
    found = made_up.findings({"data.mask_target": target})
    invisible = [finding for finding in found if finding.check == "invisible"]
    assert len(invisible) == (target == "center")


def test_object_without_a_mask_pixel(made_up):
    annotation = made_up.annotation(2, 2, [16, 16, 24, 24])
    annotation["segmentation"] = [[16, 16, 17, 16, 17, 17]]
    made_up.content["train"]["annotations"][1] = annotation
    (invisible,) = [f for f in made_up.findings() if f.check == "invisible"]
    assert invisible.level == "warning"
    assert "annotations 2 of image 2" in invisible.text


def test_more_objects_than_slots(made_up):
    more = [made_up.annotation(9 + i, 2, [8 + i, 8, 24, 24]) for i in range(3)]
    made_up.content["train"]["annotations"] += more
    found = made_up.findings({"data.max_objects": 3})
    text = only(found, "warning", "too many objects")
    assert "image 2 (2.jpg) has 4 annotations, of which 1 find none of 3" in text


def with_orientation(file, orientation):
    """Marks a JPEG file as one that viewers turn."""
    data = file.read_bytes()
    tiff = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01"
    body = b"Exif\0\0" + tiff + bytes([0, orientation]) + bytes(6)
    head = b"\xff\xd8\xff\xe1" + (len(body) + 2).to_bytes(2, "big")
    file.write_bytes(head + body + data[2:])


@pytest.mark.parametrize("orientation", [3, 6])
def test_orientation_that_the_json_file_does_not_tell(made_up, orientation):
    with_orientation(made_up.root / "train" / "2.jpg", orientation)
    text = only(made_up.findings(), "warning", "orientation")
    assert f"train: image 2 (2.jpg) has the EXIF orientation {orientation}," in text


@pytest.mark.parametrize("applied", [True, False])
def test_orientation_that_the_json_file_tells(made_up, applied):
    with_orientation(made_up.root / "train" / "2.jpg", 3)
    made_up.content["train"]["images"][1]["exif_orientation_applied"] = applied
    assert {finding.level for finding in made_up.findings()} == {"note"}


def test_image_of_few_gray_levels(made_up):
    pixels = np.full((SIDE, SIDE, 3), 3, np.uint8)
    pixels[16:40, 16:40] = 11
    data = simplejpeg.encode_jpeg(pixels)
    (made_up.root / "train" / "2.jpg").write_bytes(data)
    text = only(made_up.findings(), "warning", "few gray levels")
    assert text.endswith(
        "train: image 2 (2.jpg) has gray levels from 3 to 11 of 255 only."
    )


def twelve_bits(made_up, image_ids):
    """Makes images 12-bit ones in 16-bit files."""
    for image_id in image_ids:
        for folder in (made_up.root / "train", made_up.root / "val"):
            file = folder / f"{image_id}.jpg"
            if file.exists():
                deep = cv2.imread(str(file)).astype(np.uint16) * 16
                file.write_bytes(cv2.imencode(".png", deep)[1].tobytes())


def test_depth_of_images_is_told(made_up):
    twelve_bits(made_up, (1, 2, 3, 4))
    found = made_up.findings()
    assert {finding.level for finding in found} == {"note"}
    depths = [finding.text for finding in found if finding.check == "depth"]
    assert len(depths) == 2
    assert all("upper 8 bits: 12 bits: 2; --config" in text for text in depths)
    levels = [finding.text for finding in found if finding.check == "gray levels"]
    assert "images go from 50 to 255 of 255" in levels[0]


def test_different_depths_are_a_warning(made_up):
    twelve_bits(made_up, (1,))
    text = only(made_up.findings(), "warning", "depth")
    assert "8 bits: 1, 12 bits: 1; --config.data.window_percentiles" in text


def test_best_overlap_is_that_of_concentric_boxes():
    shapes = np.array([[10.0, 10.0], [20.0, 5.0]])
    extents = np.array([[10.0, 10.0], [10.0, 5.0], [40.0, 2.5]])
    np.testing.assert_allclose(
        overlaps(extents, shapes).max(axis=1), [1, 0.5, 50 / 150]
    )


def test_report_puts_problems_first_and_counts():
    found = [Finding("note", "a", f"fact {i}.") for i in range(5)]
    found.append(Finding("problem", "b", "bad."))
    lines = report(found, most=2).splitlines()
    assert lines[0] == "problem (b): bad."
    assert lines[1:4] == [
        "note (a): fact 0.",
        "note (a): fact 1.",
        "note (a): and 3 more.",
    ]
    assert lines[-1] == "1 problems, 0 warnings, 5 notes"


def run(arguments, *more):
    flags = [f"--{name}={value}" for name, value in arguments.items()]
    return run_command("doctor", *flags, *more)


@pytest.mark.long
def test_command_draws_a_sheet_and_tells_by_its_exit_status(made_up):
    made_up.write()
    sheet = made_up.root / "sheet.png"
    done = run(
        made_up.arguments(), "--input_size=64", f"--sheet={sheet}", "--samples=5"
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("notes\n")
    picture = cv2.imread(str(sheet))
    assert picture.shape == (2 * 275, 4 * 275, 3)
    assert picture[:275].std() > 5
    assert not picture[275:, 275:].any()
    (made_up.root / "val" / "3.jpg").unlink()
    done = run(made_up.arguments(), "--input_size=64")
    assert done.returncode == 1
    assert f"problem (unusable): {made_up.root / 'val.json'}: image 3" in done.stdout


def test_sheet_replaces_no_file(made_up, capsys):
    made_up.write()
    picture = made_up.root / "train" / "1.jpg"
    before = picture.read_bytes()
    flags = [f"--{name}={value}" for name, value in made_up.arguments().items()]
    assert main(["doctor", *flags, f"--sheet={picture}"]) == 1
    assert f"--sheet {picture} exists" in capsys.readouterr().err
    assert picture.read_bytes() == before


def test_images_of_a_split_without_annotations_are_refused(made_up, capsys):
    made_up.write()
    arguments = made_up.arguments()
    del arguments["validation_annotations"]
    assert main(["doctor", *(f"--{n}={v}" for n, v in arguments.items())]) == 1
    assert "--validation_images needs --validation_ann" in capsys.readouterr().err


def test_an_error_keeps_the_findings_before_it(made_up):
    made_up.content["train"]["annotations"][0]["bbox"] = [16, 16, 40, 40]
    for entry in made_up.content["train"]["annotations"]:
        entry["iscrowd"] = 1
    made_up.write()
    sheet = made_up.root / "sheet.png"
    found = run(made_up.arguments(), f"--sheet={sheet}", "--input_size=64")
    assert "problem (unusable):" in found.stdout  # There is nothing to draw.
    assert "warning (box contradicts outline):" in found.stdout
    assert "warning (crowds):" in found.stdout
    assert found.returncode == 1


@pytest.mark.long
def test_images_outside_of_their_folder_are_a_problem_unless_allowed(made_up):
    made_up.content["train"]["images"][0]["file_name"] = "../val/1.jpg"
    (made_up.root / "train" / "1.jpg").rename(made_up.root / "val" / "1.jpg")
    made_up.write()
    done = run(made_up.arguments(), "--input_size=64")
    assert "image 1 has `file_name` '../val/1.jpg', which leads out of" in done.stdout
    assert done.returncode == 1
    done = run(
        made_up.arguments(), "--input_size=64", "--config.data.allow_outside_paths"
    )
    assert done.returncode == 0, done.stdout


def test_unreadable_set_is_told_without_a_traceback(made_up):
    arguments = made_up.arguments()
    done = run(arguments)
    assert done.returncode == 1
    for name in ("train.json", "val.json"):
        assert f"{name})" in done.stdout
    assert "not found" in done.stdout
    assert "Traceback" not in done.stderr


CONFIG = """
from configs import coco

def get_config():
    config = coco.get_config()
    config.data.input_size = 64
    config.data.max_objects = 1
    config.data.train_annotations = "{root}/train.json"
    config.data.train_images = "{root}/train"
    config.data.validation_annotations = "{root}/val.json"
    config.data.validation_images = "{root}/val"
    config.anchors.scales_px = ({anchors})
    return config
"""


@pytest.fixture
def config_file(made_up):
    """Writes a config with the anchors given, for the made-up set."""

    def write(anchors):
        made_up.write()
        text = CONFIG.format(root=made_up.root, anchors=anchors)
        (made_up.root / "config.py").write_text(text)
        return {"config": made_up.root / "config.py"}

    return write


@pytest.mark.long
def test_config_gives_data_sizes_and_anchors(made_up, config_file):
    annotations = made_up.content["train"]["annotations"]
    annotations.append(made_up.annotation(7, 2, [8, 8, 25, 25]))
    done = run(config_file("(24.0,), (48.0,), (48.0,), (48.0,), (48.0,)"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "unmatched" not in done.stdout
    assert "image 2 (2.jpg) has 2 annotations, of which 1 find none" in done.stdout
    done = run(config_file("(6.0,), (6.0,), (6.0,), (6.0,), (6.0,)"), "--max_objects=5")
    assert "train: 3 objects overlap less than 0.5 with any anchor" in done.stdout
    assert "find none" not in done.stdout


@pytest.mark.long
def test_config_gives_the_augmentation_of_the_sheet(made_up, config_file):
    sheets = []
    for change in ("False", "True"):
        file = made_up.root / f"{change}.png"
        flags = [f"--config.augment.{name}=False" for name in ("expand", "crop")]
        arguments = config_file("(24.0,), (48.0,), (48.0,), (48.0,), (48.0,)")
        done = run(
            arguments,
            *flags,
            f"--config.augment.photometric={change}",
            f"--sheet={file}",
            "--samples=4",
        )
        assert done.returncode == 0, done.stdout + done.stderr
        sheets.append(cv2.imread(str(file)))
    plain, colored = sheets
    # The made-up pictures are grey, and so is the sheet beside the objects.
    assert np.ptp(plain[:40, :40].astype(int), axis=-1).max() <= 3
    assert (plain != colored).any()


def test_impossible_config_is_told_without_a_traceback(config_file):
    done = run(config_file("(24.0,),"))
    assert done.returncode == 1
    assert "config.anchors.scales_px" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("scales", [None, ((9.0,),) * 5])
def test_both_flags_for_the_input_size_mean_the_same(monkeypatch, scales):
    configs = []

    def keep(config, **_):
        configs.append(config.replace({"data.records_dir": ""}))
        return []

    monkeypatch.setattr(doctor, "diagnose", keep)
    given = [f"--config.anchors.scales_px={scales}"] if scales else []
    for flag in ("--input_size=1100", "--config.data.input_size=1100"):
        assert main(["doctor", "--config=coco", flag, *given]) == 0
    assert configs[0] == configs[1]
    least = 9.0 if scales else 48.0
    assert configs[0].anchors.scales_px[0] == (least,)


def test_records_go_where_the_config_says(monkeypatch):
    found = []

    def keep(config, **_):
        found.append(config.data.records_dir)
        return []

    monkeypatch.setattr(doctor, "diagnose", keep)
    main(["doctor", "--config=coco"])
    main(["doctor", "--config=coco", "--config.data.records_dir=mine"])
    main(["doctor", "--config=coco", "--records_dir=mine"])
    assert found[0] != Config().data.records_dir
    assert found[1:] == ["mine", "mine"]
