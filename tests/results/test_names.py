import os
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from yolact_jax.data.inputs import Inputs
from yolact_jax.results.names import frame_folders, picture_names, video_keys


def test_streams_of_one_host_and_path_have_numbers():
    streams = [f"rtsp://host/live?channel={n}" for n in (1, 2)]
    image = Path("camera-0")
    found = Inputs([image], [*streams, 0, Path("in/a.mp4")], {image: "camera-0"})
    assert {key.as_posix(): video for key, video in video_keys(found).items()} == {
        "host-live": streams[0],
        "host-live-2": streams[1],
        "camera-0-2": 0,
        "in/a.mp4": Path("in/a.mp4"),
    }


def test_frames_have_a_folder_of_their_own():
    names = ["a.mp4", "b.mp4", "b.mkv", "c.mp4", "b.mkv.avi", "camera-0"]
    images = ["c/000000.jpg", "a/more/1.jpg", "b.mp4/1.jpg"]
    videos = [Path("in") / name for name in names]
    named = {path: path.name for path in videos}
    named |= {Path("in") / name: name for name in images}
    assert list(frame_folders(named, videos).values()) == [
        "a",
        "b.mp4 (2)",
        "b.mkv",
        "c.mp4",
        "b.mkv.avi",
        "camera-0",
    ]


def test_names_of_the_usual_case():
    paths = [Path("d") / name for name in ("a.jpg", "a.png", "b.png", "c.tiff")]
    assert list(picture_names(paths).values()) == [
        "a.jpg.png",
        "a.png.png",
        "b.png",
        "c.png",
    ]


@given(
    st.lists(
        st.builds(
            str.__add__,
            st.sampled_from(["a", "A", "a.jpg", "é", "e\u0301", "ß", "SS", "x" * 251]),
            st.sampled_from([".jpg", ".JPG", ".png", ".png.png", " (2).png", ""]),
        ),
        unique=True,
    )
)
def test_names_differ_also_without_case(file_names):
    names = picture_names([Path("folder") / name for name in file_names])
    assert len(names) == len(file_names)
    assert len({name.casefold() for name in names.values()}) == len(file_names)
    for name in names.values():
        assert name.endswith(".png")
        assert len(os.fsencode(name)) <= 255
