"""Small videos, made frame by frame."""

from fractions import Fraction

import numpy as np

RATE = 12


def corner_frames(count, size=(48, 64)):
    """Black frames with a bright top left corner and a line that moves."""
    frames = np.zeros((count, *size, 3), np.uint8)
    frames[:, : size[0] // 4, : size[1] // 4] = 250
    for number in range(count):
        frames[number, -4:, number % size[1]] = 128
    return frames


def write_clip(
    path, frames, *, rate=RATE, rotation=0, sound=False, codec="libx264", **options
):
    """Writes [n, h, w, 3] uint8 RGB frames of any sizes that the codec takes."""
    import av

    with av.open(str(path), "w", container_options=options) as file:
        video = file.add_stream(codec, rate=rate)
        height, width = frames[0].shape[:2]
        video.height, video.width = height, width
        # An odd side has no half, which other formats need.
        odd = height % 2 or width % 2
        video.pix_fmt = "yuv444p" if odd else "yuv420p"
        if rotation:
            video.set_display_rotation(rotation)
        audio = file.add_stream("aac", rate=16_000) if sound else None
        if audio:
            audio.layout = "mono"
        for number, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, rate)
            file.mux(video.encode(frame))
            if audio:
                file.mux(audio.encode(_tone(av, number, 16_000 // rate)))
        file.mux(video.encode())
        if audio:
            file.mux(audio.encode())
    return path


def _tone(av, number, length):
    wave = np.sin(np.arange(number * length, (number + 1) * length) / 5)
    wave = wave.astype(np.float32)[None]
    sound = av.AudioFrame.from_ndarray(wave, format="fltp", layout="mono")
    sound.sample_rate, sound.pts = 16_000, number * length
    sound.time_base = Fraction(1, 16_000)
    return sound


def read_clip(path):
    """All frames as stored, [n, h, w, 3] uint8 RGB, the stream's rate, and packets of
    sound as bytes."""
    import av

    with av.open(str(path)) as file:
        rate = file.streams.video[0].average_rate
        frames = [f.to_ndarray(format="rgb24") for f in file.decode(video=0)]
    with av.open(str(path)) as file:
        if not file.streams.audio:
            return np.array(frames), rate, []
        packets = [bytes(p) for p in file.demux(audio=0)]
    return np.array(frames), rate, [p for p in packets if p]
