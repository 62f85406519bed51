"""Videos in, videos and json out, with a predictor that is made up."""

import json
import os
import re
import signal
import subprocess
import sys
import textwrap

import cv2
import numpy as np
import pytest

from tests.helpers.clips import RATE, corner_frames, read_clip, write_clip
from tests.helpers.commands import ROOT
from tests.results.test_files import OneObject
from yolact_jax.results import draw
from yolact_jax.results.files import predict_files
from yolact_jax.results.video import screen, writer

pytest.importorskip("av")


def predict(source, output, **options):
    return predict_files(OneObject(), source, output, **options)


def detections(folder):
    return json.loads((folder / "detections.json").read_text())


@pytest.mark.parametrize("sound", [False, True])
def test_frames_rate_and_sound_stay(tmp_path, sound):
    clip = write_clip(tmp_path / "a.mp4", corner_frames(30), sound=sound)
    assert predict(clip, tmp_path / "out") == []
    frames, rate, packets = read_clip(tmp_path / "out" / "a.mp4")
    assert frames.shape == (30, 48, 64, 3)
    assert rate == RATE
    assert packets == read_clip(clip)[2]
    assert bool(packets) == sound


@pytest.mark.parametrize("name", ["a.mkv", "a.avi", "a.ts"])
def test_other_containers_become_mp4(tmp_path, name):
    codec = "mpeg4" if name == "a.avi" else "libx264"
    clip = write_clip(tmp_path / name, corner_frames(10), codec=codec, rate=25)
    assert predict(clip, tmp_path / "out") == []
    frames, rate, _ = read_clip(tmp_path / "out" / "a.mp4")
    assert len(frames) == 10
    assert rate == 25


def test_what_is_drawn_is_what_is_found(tmp_path):
    """In the colors of the source, and over its pixels."""
    colors = np.zeros((6, 48, 64, 3), np.uint8)
    colors[:, :, :32], colors[:, :, 32:] = (30, 60, 210), (200, 40, 40)
    predict(write_clip(tmp_path / "a.mp4", colors), tmp_path / "out")
    found = read_clip(tmp_path / "out" / "a.mp4")[0][3].astype(int)
    assert np.abs(found[40:, 4:28] - (30, 60, 210)).mean() < 6
    assert np.abs(found[40:, 36:60] - (200, 40, 40)).mean() < 6
    inside = found[15:21, 19:29]  # Of the mask, which has rows 12-24, columns 16-32.
    assert np.abs(inside - colors[0, 15:21, 19:29]).mean() > 20


def test_an_odd_size_gains_a_row_and_a_column(tmp_path):
    clip = write_clip(tmp_path / "a.mp4", corner_frames(5, (47, 63)))
    assert predict(clip, tmp_path / "out") == []
    frames, _, _ = read_clip(tmp_path / "out" / "a.mp4")
    assert frames.shape == (5, 48, 64, 3)
    entry = detections(tmp_path / "out")["images"][0]
    assert (entry["height"], entry["width"]) == (47, 63)


def test_a_turned_video_is_upright_in_the_output(tmp_path):
    clip = write_clip(tmp_path / "a.mp4", corner_frames(5), rotation=90)
    predict(clip, tmp_path / "out")
    ok, wanted = cv2.VideoCapture(str(clip)).read()
    frames, _, _ = read_clip(tmp_path / "out" / "a.mp4")
    assert ok
    assert frames.shape[1:] == wanted.shape == (64, 48, 3)
    corners = np.abs(frames[0].astype(int) - wanted[..., ::-1])[[0, 0, -1, -1]]
    assert corners.mean() < 6


def test_json_numbers_videos_frames_and_objects(tmp_path):
    source = tmp_path / "in"
    (source / "sub").mkdir(parents=True)
    cv2.imwrite(str(source / "photo.png"), np.zeros((24, 32, 3), np.uint8))
    write_clip(source / "a.mp4", corner_frames(4))
    write_clip(source / "sub" / "b.mkv", corner_frames(3))
    assert predict(source, tmp_path / "out", recursive=True) == []
    found = detections(tmp_path / "out")
    assert [(v["id"], v["file_name"]) for v in found["videos"]] == [
        (1, "a.mp4"),
        (2, "sub/b.mkv"),
    ]
    photo, *frames = found["images"]
    assert photo["file_name"] == "photo.png"
    assert "video_id" not in photo
    numbers = [(f["video_id"], f["frame_id"]) for f in frames]
    assert numbers == [(1, n) for n in range(4)] + [(2, n) for n in range(3)]
    assert frames[3]["file_name"] == "a/000003.jpg"
    assert frames[3]["time_s"] == pytest.approx(3 / RATE)
    assert [i["id"] for i in found["images"]] == list(range(1, 9))
    assert [a["image_id"] for a in found["annotations"]] == list(range(1, 9))
    assert [a["id"] for a in found["annotations"]] == list(range(1, 9))


def test_frames_of_videos_that_differ_in_suffix_have_names_of_their_own(tmp_path):
    (tmp_path / "in" / "clip").mkdir(parents=True)
    write_clip(tmp_path / "in" / "clip.mp4", corner_frames(2))
    write_clip(tmp_path / "in" / "clip.mkv", corner_frames(2))
    still = np.zeros((24, 32, 3), np.uint8)
    cv2.imwrite(str(tmp_path / "in" / "clip" / "000000.jpg"), still)
    assert predict(tmp_path / "in", tmp_path / "out", recursive=True) == []
    found = [image["file_name"] for image in detections(tmp_path / "out")["images"]]
    assert sorted(found) == [
        "clip.mkv/000000.jpg",
        "clip.mkv/000001.jpg",
        "clip.mp4/000000.jpg",
        "clip.mp4/000001.jpg",
        "clip/000000.jpg",
    ]


def test_each_of_two_streams_of_one_path_is_opened(tmp_path):
    streams = [f"rtsp://127.0.0.1:9/cam?channel={n}" for n in (1, 2)]
    problems = predict(streams, tmp_path / "out")
    assert len(problems) == 2
    assert all(map(str.__contains__, problems, streams))


def test_a_truncated_video_is_named_its_start_kept_and_the_next_done(tmp_path):
    source = tmp_path / "in"
    source.mkdir()
    clip = write_clip(source / "a.mkv", corner_frames(48))
    clip.write_bytes(clip.read_bytes()[: clip.stat().st_size * 6 // 10])
    write_clip(source / "b.mp4", corner_frames(4))
    (problem,) = predict(source, tmp_path / "out")
    match = re.search(r"a\.mkv ends after (\d+) frames", problem)
    assert match
    assert "What was found until then is kept" in problem
    count = int(match[1])
    frames, _, _ = read_clip(tmp_path / "out" / "a.mp4")
    assert 10 < count < 48
    assert len(frames) == count
    found = detections(tmp_path / "out")
    assert len(found["images"]) == count + 4
    assert len(read_clip(tmp_path / "out" / "b.mp4")[0]) == 4


def test_what_waits_for_a_full_batch_at_the_error_is_kept_too(tmp_path):
    class InBatches(OneObject):
        def stream(self, images, **options):
            batch = []
            for image in images:
                batch.append(image)
                if len(batch) == 8:
                    yield from super().stream(batch, **options)
                    batch = []
            yield from super().stream(batch, **options)

    parts = [
        write_clip(tmp_path / f"{n}.ts", corner_frames(6, size)).read_bytes()
        for n, size in enumerate([(48, 64), (64, 96)])
    ]
    (tmp_path / "a.ts").write_bytes(b"".join(parts))
    (problem,) = predict_files(InBatches(), tmp_path / "a.ts", tmp_path / "out")
    count = int(re.search(r"frame (\d+) of", problem)[1])
    assert count > 0
    assert len(read_clip(tmp_path / "out" / "a.mp4")[0]) == count
    assert len(detections(tmp_path / "out")["images"]) == count


def test_a_camera_that_does_not_exist_is_named_and_nothing_else_made(tmp_path):
    (problem,) = predict(97, tmp_path / "out")
    assert problem == "camera 97 does not exist, or is in use."
    assert not list((tmp_path / "out").iterdir())
    # So the next call needs no leave to overwrite, and an earlier result stays.
    assert predict(97, tmp_path / "out") == [problem]
    predict(
        write_clip(tmp_path / "a.avi", corner_frames(4), codec="mpeg4"),
        tmp_path / "out",
    )
    before = (tmp_path / "out" / "detections.json").read_bytes()
    assert predict(97, tmp_path / "out", overwrite=True) == [problem]
    assert (tmp_path / "out" / "detections.json").read_bytes() == before


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_video_of_someone_else_stays(tmp_path, overwrite):
    clip = write_clip(tmp_path / "a.avi", corner_frames(4), codec="mpeg4")
    (tmp_path / "a.mp4").write_text("holiday")
    with pytest.raises(ValueError, match=r"a\.mp4 would be .* is no earlier predict"):
        predict(clip, tmp_path, overwrite=overwrite)
    assert (tmp_path / "a.mp4").read_text() == "holiday"


@pytest.mark.parametrize("link", [os.symlink, os.link])
def test_the_source_is_never_written_to_by_another_name(tmp_path, link):
    clip = write_clip(tmp_path / "a.mp4", corner_frames(4))
    before = clip.read_bytes()
    with pytest.raises(ValueError, match=r"a\.mp4 would be .* a video of the source"):
        predict(clip, tmp_path)
    predict(clip, tmp_path / "out")
    (tmp_path / "out" / "a.mp4").unlink()
    link(clip, tmp_path / "out" / "a.mp4")
    with pytest.raises(ValueError, match=r"a\.mp4 would be .* a video of the source"):
        predict(clip, tmp_path / "out", overwrite=True)
    assert clip.read_bytes() == before


def test_own_video_is_replaced_if_asked_for(tmp_path):
    clip = write_clip(tmp_path / "a.mp4", corner_frames(4))
    predict(clip, tmp_path / "out")
    with pytest.raises(ValueError, match=r"has a detections\.json already"):
        predict(clip, tmp_path / "out")
    write_clip(clip, corner_frames(7))
    predict(clip, tmp_path / "out", overwrite=True)
    assert len(read_clip(tmp_path / "out" / "a.mp4")[0]) == 7


@pytest.mark.parametrize("stage", ["draw", "write"])
def test_an_error_in_any_stage_ends_all_with_what_came_before(
    tmp_path, monkeypatch, stage
):
    place = {
        "draw": (draw, "_draw_box"),
        "write": (writer.VideoWriter, "write"),
    }[stage]
    real, calls = getattr(*place), []

    def failing(*args):
        calls.append(1)
        if len(calls) > 5:
            raise OSError(28, "No space left on device")
        return real(*args)

    monkeypatch.setattr(*place, failing)
    clip = write_clip(tmp_path / "a.mp4", corner_frames(20))
    with pytest.raises(ValueError, match=r"cannot be written: .*No space left"):
        predict(clip, tmp_path / "out")
    assert len(detections(tmp_path / "out")["images"]) == 5
    assert len(read_clip(tmp_path / "out" / "a.mp4")[0]) == 5


def test_a_kill_loses_at_most_the_last_second(tmp_path):
    clip = write_clip(tmp_path / "a.mp4", corner_frames(60), sound=True)
    code = f"""
    import os, signal, time
    from tests.results.test_files import OneObject
    from yolact_jax.results.files import predict_files

    class Killed(OneObject):
        def stream(self, images, **options):
            for number, result in enumerate(super().stream(images, **options)):
                if number == 40:
                    time.sleep(1)  # The rest of the stages ends its work.
                    os.kill(os.getpid(), signal.SIGKILL)
                yield result

    predict_files(Killed(), {str(clip)!r}, {str(tmp_path / "out")!r})
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], check=False, cwd=ROOT
    )
    assert done.returncode == -signal.SIGKILL
    lines = (tmp_path / "out" / "detections.partial.jsonl").read_text().splitlines()
    frames = [line["image"] for line in map(json.loads, lines) if "image" in line]
    assert [frame["frame_id"] for frame in frames] == list(range(40))
    pictures, _, packets = read_clip(tmp_path / "out" / "a.mp4")
    assert 40 - RATE <= len(pictures) <= 40
    assert packets == read_clip(clip)[2][: len(packets)]
    assert packets


def test_the_log_says_times_and_frames_per_second(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr("logging.Logger.propagate", True, raising=False)
    clip = write_clip(tmp_path / "a.mp4", corner_frames(4))
    with caplog.at_level("INFO", logger="yolact_jax"):
        predict(clip, tmp_path / "out")
    (line,) = [r.getMessage() for r in caplog.records if "frames/s" in r.getMessage()]
    assert re.search(
        r"a\.mp4: 4 frames, 4 objects in [\d.]+ s \([\d.]+ frames/s\)", line
    )
    for step in ("read", "network", "draw", "write"):
        assert re.search(rf"{step} \d+\.\d", line)


class Window(screen.Screen):
    shown = 0

    def show(self, picture):
        self.shown += 1
        return self.shown < 3


def test_closing_the_window_ends_the_video(tmp_path, monkeypatch):
    window = Window()

    class Opened:
        def __enter__(self):
            return window

        def __exit__(self, *_):
            pass

    monkeypatch.setattr("yolact_jax.results.files.open_screen", Opened)
    clip = write_clip(tmp_path / "a.mp4", corner_frames(30))
    assert predict(clip, tmp_path / "out", show=True) == []
    assert len(read_clip(tmp_path / "out" / "a.mp4")[0]) == 3


def test_without_a_display_nothing_is_written(tmp_path, monkeypatch):
    def refuse(*_):
        raise cv2.error("no windows here")

    monkeypatch.setattr(cv2, "namedWindow", refuse)
    clip = write_clip(tmp_path / "a.mp4", corner_frames(4))
    with pytest.raises(ValueError, match="`show` needs a display"):
        predict(clip, tmp_path / "out", show=True)
    assert not (tmp_path / "out").exists()


def test_tracks_of_images_alone_are_refused(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(ValueError, match="`track` is for videos"):
        predict(tmp_path / "a.png", tmp_path / "out", with_tracks=True)
    assert not (tmp_path / "out").exists()
