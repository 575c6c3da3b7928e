"""A participant that uses the Python SDK. Arguments: URL, token. Prints what it receives as JSON, one event per line,
and sends each line of its input to the others. Ends when its input ends."""

import asyncio
import json
import math
import sys
from array import array

from livekit import rtc

WIDTH, HEIGHT, FRAME_SECONDS = 320, 180, 0.1
RATE, AUDIO_SECONDS, TONE_HZ = 48_000, 0.01, 400
AUDIO_SAMPLES = 480
# Maximum sample of silence after Opus, of 32,767, with a wide margin.
SILENCE = 1_000
# Maximum luma difference of coding noise.
NOISE = 4


def report(event, detail=None):
    print(json.dumps({"event": event, "detail": detail}), flush=True)


async def report_video(track, identity):
    before = None
    async for event in rtc.VideoStream(track, format=rtc.VideoBufferType.I420):
        luma = event.frame.data[0]
        if before is not None and abs(luma - before) > NOISE:
            return report("video", identity)
        before = luma


async def report_audio(track, identity):
    async for event in rtc.AudioStream(track, sample_rate=RATE, num_channels=1):
        if max(event.frame.data) > SILENCE:
            return report("audio", identity)


async def repeat(seconds, send):
    """Calls `send` with 0, 1, 2 and so on, at an interval."""
    loop = asyncio.get_running_loop()
    begun = loop.time()
    count = 0
    while True:
        await send(count)
        count += 1
        await asyncio.sleep(begun + count * seconds - loop.time())


async def publish_video(participant, tasks):
    source = rtc.VideoSource(WIDTH, HEIGHT)

    async def send(count):
        luma, chroma = bytes([64 + count * 16 % 128]) * (WIDTH * HEIGHT), bytes([128]) * (WIDTH * HEIGHT // 2)
        source.capture_frame(rtc.VideoFrame(WIDTH, HEIGHT, rtc.VideoBufferType.I420, luma + chroma))

    track = rtc.LocalVideoTrack.create_video_track("video", source)
    await participant.publish_track(track, rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_CAMERA))
    tasks.create_task(repeat(FRAME_SECONDS, send))


async def publish_audio(participant, tasks):
    # With its default queue: without one the SDK 1.0 aborts the process at the first frame.
    source = rtc.AudioSource(RATE, 1)
    # Whole periods of the tone, so that the same samples can be repeated.
    tone = array("h", (int(10_000 * math.sin(2 * math.pi * TONE_HZ * at / RATE)) for at in range(AUDIO_SAMPLES)))

    async def send(_):
        await source.capture_frame(rtc.AudioFrame(tone.tobytes(), RATE, 1, AUDIO_SAMPLES))

    track = rtc.LocalAudioTrack.create_audio_track("audio", source)
    await participant.publish_track(track, rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE))
    tasks.create_task(repeat(AUDIO_SECONDS, send))


async def run(url, token):
    room = rtc.Room()
    async with asyncio.TaskGroup() as tasks:

        @room.on("track_subscribed")
        def _(track, _publication, participant):
            receive = report_video if track.kind == rtc.TrackKind.KIND_VIDEO else report_audio
            tasks.create_task(receive(track, participant.identity))

        @room.on("data_received")
        def _(packet):
            report("data", {"identity": packet.participant and packet.participant.identity, "text": packet.data.decode()})

        await room.connect(url, token)
        await publish_video(room.local_participant, tasks)
        await publish_audio(room.local_participant, tasks)
        report("joined")
        while line := await asyncio.to_thread(sys.stdin.readline):
            await room.local_participant.publish_data(line.strip())
        await room.disconnect()
        sys.exit()


asyncio.run(run(sys.argv[1], sys.argv[2]))
