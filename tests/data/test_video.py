"""Reading videos that are made here, whole and broken."""

import builtins
from fractions import Fraction

import cv2
import numpy as np
import pytest
from PIL import Image

from tests.helpers.clips import RATE, corner_frames, write_clip
from yolact_jax.data.video import VideoError, open_video

pytest.importorskip("av")


def read(source):
    with open_video(source) as video:
        return [frame.pixels for frame in video.frames]


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts", "a.mov"])
def test_frames_come_in_order_with_their_times(tmp_path, name):
    frames = corner_frames(20)
    with open_video(write_clip(tmp_path / name, frames, sound=True)) as video:
        found = list(video.frames)
        assert video.frame_rate == RATE
        assert not video.is_live
        times = [frame.ticks * video.tick_s for frame in found]
    assert [frame.number for frame in found] == list(range(20))
    steps = np.diff(np.array(times, float))
    np.testing.assert_allclose(steps, 1 / RATE, atol=0.001)  # Matroska rounds to ms.
    for frame, wanted in zip(found, frames, strict=True):
        assert np.abs(frame.pixels.astype(int) - wanted).mean() < 4


@pytest.mark.parametrize("rotation", [0, 90, 180, -90])
def test_frames_are_turned_upright_as_opencv_turns_them(tmp_path, rotation):
    path = write_clip(tmp_path / "a.mp4", corner_frames(3), rotation=rotation)
    ok, wanted = cv2.VideoCapture(str(path)).read()
    assert ok
    frame = read(path)[0]
    assert frame.shape == wanted.shape
    assert np.abs(frame.astype(int) - wanted[..., ::-1]).mean() < 4


def test_a_clip_of_odd_sides_keeps_them(tmp_path):
    path = write_clip(tmp_path / "a.mp4", corner_frames(3, (47, 63)))
    assert [f.shape for f in read(path)] == [(47, 63, 3)] * 3


def cut(path, share=0.6):
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    return path


@pytest.mark.parametrize(
    ("name", "options", "problem"),
    [
        ("a.mp4", {}, "cannot be opened as a video"),  # Its index was at the end.
        ("a.mp4", {"movflags": "faststart"}, "cannot be decoded after"),
        ("a.mkv", {}, r"ends after \d+ frames, .* of 4.0 seconds: it is truncated"),
    ],
)
def test_a_truncated_video_is_one_sentence(tmp_path, name, options, problem):
    path = cut(write_clip(tmp_path / name, corner_frames(48), **options))
    with pytest.raises(VideoError, match=f"{name} {problem}") as error:
        read(path)
    assert str(error.value).count("\n") == 0


@pytest.mark.parametrize("delays_ms", [(100, 100, 2000), (3000, 1000, 2000), (2000,)])
def test_a_gif_whose_last_picture_stays_is_whole(tmp_path, delays_ms):
    path = tmp_path / "a.gif"
    pictures = [Image.fromarray(frame) for frame in corner_frames(len(delays_ms))]
    pictures[0].save(
        path, save_all=True, append_images=pictures[1:], duration=list(delays_ms)
    )
    assert len(read(path)) == len(delays_ms)


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_slides_of_other_lengths_are_whole(tmp_path, name):
    av = pytest.importorskip("av")
    starts_s, end_s = (0, 3, 4), 9
    with av.open(str(tmp_path / name), "w") as file:
        video = file.add_stream("libx264", rate=10, options={"tune": "zerolatency"})
        video.height, video.width, video.pix_fmt = 48, 64, "yuv420p"
        video.codec_context.time_base = Fraction(1, 1000)
        lengths_s = np.diff([*starts_s, end_s])
        slides = zip(corner_frames(3), starts_s, lengths_s, strict=True)
        for pixels, start_s, length_s in slides:
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = 1000 * start_s, Fraction(1, 1000)
            for packet in video.encode(frame):
                packet.duration = 1000 * int(length_s)
                file.mux(packet)
        file.mux(video.encode())
    with open_video(tmp_path / name) as found:
        times_s = [float(frame.ticks * found.tick_s) for frame in found.frames]
    assert times_s == pytest.approx(starts_s)


def late_clip(path, *, sound, seconds=2, start_s=3):
    """Pictures that begin when the sound has been on for a while."""
    import av

    with av.open(str(path), "w") as file:
        video = file.add_stream("libx264", rate=RATE)
        video.height, video.width, video.pix_fmt = 48, 64, "yuv420p"
        audio = file.add_stream("aac", rate=16_000) if sound else None
        for number in range((start_s + seconds) * 10 if audio else 0):
            tone = np.zeros((1, 1600), np.float32)
            tone = av.AudioFrame.from_ndarray(tone, format="fltp", layout="mono")
            tone.sample_rate, tone.pts = 16_000, 1600 * number
            file.mux(audio.encode(tone))
        for number, pixels in enumerate(corner_frames(seconds * RATE)):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = start_s * RATE + number, Fraction(1, RATE)
            file.mux(video.encode(frame))
        for stream in file.streams:
            file.mux(stream.encode())
    return path


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts", "a.mov"])
@pytest.mark.parametrize("sound", [True, False])
def test_a_video_that_starts_late_is_whole(tmp_path, name, sound):
    assert len(read(late_clip(tmp_path / name, sound=sound))) == 2 * RATE


def test_the_end_of_a_matroska_file_without_tags_counts_from_0(tmp_path):
    path = late_clip(tmp_path / "a.mkv", sound=False)
    data = path.read_bytes()
    assert data.count(b"DURATION") == 1
    path.write_bytes(data.replace(b"DURATION", b"NOTATION"))
    assert len(read(path)) == 2 * RATE


def test_a_late_video_that_is_cut_is_truncated(tmp_path):
    path = cut(late_clip(tmp_path / "a.mkv", sound=False, seconds=4))
    with pytest.raises(VideoError, match=r"frames, [12]\.\d of 4\.0 seconds: it is"):
        read(path)


def test_frames_before_the_cut_come_first(tmp_path):
    path = cut(write_clip(tmp_path / "a.mkv", corner_frames(48)))
    found = []
    with open_video(path) as video, pytest.raises(VideoError):
        found.extend(video.frames)
    assert 10 < len(found) < 48


def test_a_codec_that_is_missing_is_one_sentence(tmp_path):
    path = write_clip(tmp_path / "a.mp4", corner_frames(3))
    path.write_bytes(path.read_bytes().replace(b"avc1", b"zzzz"))
    with pytest.raises(VideoError, match="there is no decoder"):
        read(path)


def test_a_video_without_frames_is_one_sentence(tmp_path):
    import av

    path = write_clip(tmp_path / "full.avi", corner_frames(3), codec="mpeg4")
    with av.open(str(path)) as full, av.open(str(tmp_path / "a.avi"), "w") as empty:
        empty.add_stream_from_template(full.streams.video[0])
        empty.start_encoding()
    with pytest.raises(VideoError, match=r"a\.avi has no frames"):
        read(tmp_path / "a.avi")


def test_sound_alone_is_one_sentence(tmp_path):
    import av

    with av.open(str(tmp_path / "a.mp4"), "w") as file:
        stream = file.add_stream("aac", rate=16_000)
        stream.layout = "mono"
        sound = av.AudioFrame.from_ndarray(
            np.zeros((1, 4096), np.float32), format="fltp", layout="mono"
        )
        sound.sample_rate = 16_000
        file.mux(stream.encode(sound))
        file.mux(stream.encode())
    with pytest.raises(VideoError, match="has no video stream"):
        read(tmp_path / "a.mp4")


def test_a_size_that_changes_is_one_sentence(tmp_path):
    parts = [
        write_clip(tmp_path / f"{n}.ts", corner_frames(6, size), bf="0").read_bytes()
        for n, size in enumerate([(48, 64), (64, 96)])
    ]
    (tmp_path / "a.ts").write_bytes(b"".join(parts))
    with pytest.raises(
        VideoError, match=r"is 96 x 64 pixels, but the first is 64 x 48"
    ):
        read(tmp_path / "a.ts")


@pytest.mark.parametrize("text", ["", "no video", "\x00" * 5000])
def test_other_files_are_one_sentence(tmp_path, text):
    (tmp_path / "a.mp4").write_text(text)
    with pytest.raises(VideoError, match=r"a\.mp4 cannot be opened as a video"):
        read(tmp_path / "a.mp4")


def test_a_camera_that_does_not_exist_is_one_sentence(capfd):
    with pytest.raises(VideoError, match="camera 97 does not exist, or is in use"):
        read(97)
    assert capfd.readouterr().err == ""


def test_a_stream_that_nobody_sends_is_one_sentence_without_the_password():
    with pytest.raises(VideoError, match="cannot be opened") as error:
        read("rtsp://me:secret@127.0.0.1:9/live")
    assert "secret" not in str(error.value)
    assert "rtsp://127.0.0.1:9/live" in str(error.value)


class FakeCamera:
    """Three frames, then none."""

    def __init__(self, number):
        self.left = 3

    def isOpened(self):
        return True

    def get(self, prop):
        return 29.97

    def read(self):
        self.left -= 1
        return self.left >= 0, np.full((4, 6, 3), (0, 0, 9), np.uint8)

    def release(self):
        self.left = None


def test_a_camera_gives_rgb_by_the_clock_until_it_ends(monkeypatch):
    monkeypatch.setattr(cv2, "VideoCapture", FakeCamera)
    with open_video(0) as video:
        assert video.is_live
        assert video.frame_rate == Fraction(2997, 100)
        frames = [next(video.frames) for _ in range(3)]
        with pytest.raises(VideoError, match="camera 0 gives no more frames after 3"):
            next(video.frames)
    assert frames[0].pixels[0, 0].tolist() == [9, 0, 0]
    ticks = [frame.ticks for frame in frames]
    assert ticks == sorted(set(ticks))


def test_without_pyav_the_extra_is_named(tmp_path, monkeypatch):
    real = builtins.__import__

    def refuse(name, *args, **kwargs):
        if name == "av":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    path = write_clip(tmp_path / "a.mp4", corner_frames(2))
    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(ValueError, match=r'pip install "yolact_jax\[video\]"'):
        read(path)
