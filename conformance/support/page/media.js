'use strict';

// Measures and makes audio and video in this page.

(() => {
  const WIDTH = 32;
  const HEIGHT = 18;
  const canvas = document.createElement('canvas');
  canvas.width = WIDTH;
  canvas.height = HEIGHT;
  const context = canvas.getContext('2d', { willReadFrequently: true });

  /** State of an element that shows nothing, to find out why. @param {HTMLVideoElement} [element] */
  function whyNothing(element) {
    if (!element) return 'the track is not attached';
    const { paused, readyState, isConnected, srcObject } = element;
    const tracks = srcObject?.getTracks().map(({ id, muted, enabled, readyState }) => ({ id, muted, enabled, readyState }));
    return { paused, readyState, isConnected, isHidden: document.hidden, tracks };
  }

  /** Average colour of the picture, its brightness, and a hash that changes with the picture. @param {HTMLVideoElement} element */
  function look(element) {
    if (!element || element.videoWidth === 0) return { shown: 0, brightness: 0, colour: [0, 0, 0], print: 0, why: whyNothing(element) };
    context.drawImage(element, 0, 0, WIDTH, HEIGHT);
    const { data } = context.getImageData(0, 0, WIDTH, HEIGHT);
    const sums = [0, 0, 0];
    let print = 0;
    for (let at = 0; at < data.length; at += 4) {
      for (let channel = 0; channel < 3; channel += 1) {
        sums[channel] += data[at + channel];
        print = (Math.imul(print, 31) + data[at + channel]) | 0;
      }
    }
    const colour = sums.map((sum) => Math.round(sum / (WIDTH * HEIGHT)));
    return { shown: element.videoWidth, brightness: Math.max(...colour), colour, print };
  }

  /** The receiver's statistics of a track. @param {any} track */
  async function received(track) {
    if (!track?.receiver) return { id: '', frames: 0, energy: 0, packets: 0 };
    const reports = [...(await track.receiver.getStats()).values()];
    const inbound = reports.find(({ type }) => type === 'inbound-rtp') ?? {};
    const codec = reports.find(({ id }) => id === inbound.codecId);
    return {
      id: `${track.sid} ${track.mediaStreamTrack.id} ${inbound.ssrc}`,
      frames: inbound.framesDecoded ?? 0,
      width: inbound.frameWidth ?? 0,
      height: inbound.frameHeight ?? 0,
      energy: inbound.totalAudioEnergy ?? 0,
      packets: inbound.packetsReceived ?? 0,
      bytes: inbound.bytesReceived ?? 0,
      codec: codec?.mimeType,
      fmtp: codec?.sdpFmtpLine,
      channels: codec?.channels,
    };
  }

  /** The transport protocol of a connection. @param {RTCPeerConnection} connection */
  async function path(connection) {
    const reports = new Map(await connection.getStats());
    const transport = [...reports.values()].find(({ type }) => type === 'transport');
    const pair = reports.get(transport?.selectedCandidatePairId);
    return { protocol: reports.get(pair?.localCandidateId)?.protocol };
  }

  /** A track of one colour whose frames all differ. @param {string} colour @param {{ width?: number, height?: number, fps?: number }} [options] */
  function paint(colour, { width = 320, height = 180, fps = 10 } = {}) {
    const canvas = document.createElement('canvas');
    Object.assign(canvas, { width, height });
    const context = canvas.getContext('2d');
    let grey = 0;
    const draw = () => {
      context.fillStyle = colour;
      context.fillRect(0, 0, width, height);
      // The changing corner makes the frames differ, and hardly changes the average.
      grey = (grey + 16) % 256;
      context.fillStyle = `rgb(${grey},${grey},${grey})`;
      context.fillRect(0, 0, width / 8, height / 8);
    };
    draw();
    const [track] = canvas.captureStream(fps).getVideoTracks();
    const timer = setInterval(() => (track.readyState === 'ended' ? clearInterval(timer) : draw()), 1000 / fps);
    return track;
  }

  /**
   * A track with a tone in the first `part` of each second. With two channels, the right one is silent.
   * @param {{ frequency?: number, channels?: number, loudness?: number, part?: number }} [options]
   */
  function sound({ frequency = 440, channels = 1, loudness = 0.4, part = 1 } = {}) {
    const audio = new AudioContext();
    const { sampleRate } = audio;
    const second = new AudioBuffer({ length: sampleRate, sampleRate });
    second.getChannelData(0).forEach((_, at, samples) => {
      samples[at] = at < part * sampleRate ? Math.sin((2 * Math.PI * frequency * at) / sampleRate) : 0;
    });
    const source = new AudioBufferSourceNode(audio, { buffer: second, loop: true });
    const gain = new GainNode(audio, { gain: loudness });
    const merger = new ChannelMergerNode(audio, { numberOfInputs: channels });
    const destination = new MediaStreamAudioDestinationNode(audio, { channelCount: channels });
    source.connect(gain).connect(merger, 0, 0).connect(destination);
    source.start();
    return destination.stream.getAudioTracks()[0];
  }

  const analysersOf = new WeakMap();
  /** Current level of a track on the left and on the right channel. @param {MediaStreamTrack} track */
  function levels(track) {
    if (!analysersOf.has(track)) {
      const audio = new AudioContext();
      const splitter = new ChannelSplitterNode(audio, { numberOfOutputs: 2 });
      const analysers = [new AnalyserNode(audio), new AnalyserNode(audio)];
      new MediaStreamAudioSourceNode(audio, { mediaStream: new MediaStream([track]) }).connect(splitter);
      analysers.forEach((analyser, side) => splitter.connect(analyser, side));
      analysersOf.set(track, analysers);
    }
    return analysersOf.get(track).map((analyser) => {
      const samples = new Float32Array(analyser.fftSize);
      analyser.getFloatTimeDomainData(samples);
      return Math.sqrt(samples.reduce((sum, sample) => sum + sample * sample, 0) / samples.length);
    });
  }

  window.media = { levels, look, paint, path, received, sound };
})();
