package main

import (
	"encoding/binary"
	"math/rand/v2"
	"sync/atomic"
	"time"

	lksdk "github.com/livekit/server-sdk-go/v2"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/rtp/codecs"
	"github.com/pion/webrtc/v4"
)

const (
	mtu = 1200

	// 30 frames per second of 2,500 bytes are 600 kbit/s, in 90 packets.
	frameInterval = time.Second / 30
	frameBytes    = 2500
	keyFrameBytes = 3 * frameBytes
	width         = 640
	height        = 360

	audioInterval = 20 * time.Millisecond
	audioBytes    = 80
	// Audio level in -dBov (RFC 6464).
	audioLevel = 30
)

// source generates the packets of a published track. Servers read only the header of a frame, and no client decodes it, so the rest is
// noise.
type source struct {
	track      *lksdk.LocalTrack
	interval   time.Duration
	samples    uint32
	packetizer rtp.Packetizer
	frame      func() []byte
	options    *lksdk.SampleWriteOptions
	sent       atomic.Int64
}

func newVideo() (*source, error) {
	// The first frame is a key frame, and the one after each PLI or FIR.
	keyFrameRequested := &atomic.Bool{}
	keyFrameRequested.Store(true)
	onRTCP := lksdk.WithRTCPHandler(func(packet rtcp.Packet) {
		switch packet.(type) {
		case *rtcp.PictureLossIndication, *rtcp.FullIntraRequest:
			keyFrameRequested.Store(true)
		}
	})
	capability := webrtc.RTPCodecCapability{
		MimeType:     webrtc.MimeTypeVP8,
		ClockRate:    90_000,
		RTCPFeedback: []webrtc.RTCPFeedback{{Type: "nack"}, {Type: "nack", Parameter: "pli"}},
	}
	track, err := lksdk.NewLocalTrack(capability, onRTCP)
	if err != nil {
		return nil, err
	}
	key, delta := vp8Frame(keyFrameBytes, true), vp8Frame(frameBytes, false)
	frame := func() []byte {
		if keyFrameRequested.Swap(false) {
			return key
		}
		return delta
	}
	payloader := &codecs.VP8Payloader{EnablePictureID: true}
	packetizer := rtp.NewPacketizer(mtu, 0, 0, payloader, rtp.NewRandomSequencer(), capability.ClockRate)
	return &source{track: track, interval: frameInterval, samples: 3000, packetizer: packetizer, frame: frame}, nil
}

func newAudio() (*source, error) {
	capability := webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeOpus, ClockRate: 48_000, Channels: 2}
	track, err := lksdk.NewLocalTrack(capability)
	if err != nil {
		return nil, err
	}
	bytes := noise(audioBytes)
	// TOC byte: one frame of 20 ms per packet, as browsers send it.
	bytes[0] = 0x78
	packetizer := rtp.NewPacketizer(mtu, 0, 0, &codecs.OpusPayloader{}, rtp.NewRandomSequencer(), capability.ClockRate)
	level := uint8(audioLevel)
	options := &lksdk.SampleWriteOptions{AudioLevel: &level}
	frame := func() []byte { return bytes }
	return &source{track: track, interval: audioInterval, samples: 960, packetizer: packetizer, frame: frame, options: options}, nil
}

// run sends frames until stop is closed.
func (s *source) run(stop <-chan struct{}) {
	// Sources do not send at the same time.
	time.Sleep(rand.N(s.interval))
	ticker := time.NewTicker(s.interval)
	defer ticker.Stop()
	for {
		select {
		case <-stop:
			return
		case <-ticker.C:
		}
		for _, packet := range s.packetizer.Packetize(s.frame(), s.samples) {
			if s.track.WriteRTP(packet, s.options) == nil {
				s.sent.Add(1)
			}
		}
	}
}

// vp8Frame returns a frame with a valid header (RFC 6386, section 9.1).
func vp8Frame(length int, isKey bool) []byte {
	frame := noise(length)
	// show_frame is set, and the version is 0. The lowest bit is set for inter frames.
	tag := uint32(length-10)<<5 | 1<<4
	if !isKey {
		tag |= 1
	}
	frame[0], frame[1], frame[2] = byte(tag), byte(tag>>8), byte(tag>>16)
	if isKey {
		copy(frame[3:], []byte{0x9d, 0x01, 0x2a})
		binary.LittleEndian.PutUint16(frame[6:], width)
		binary.LittleEndian.PutUint16(frame[8:], height)
	}
	return frame
}

func noise(length int) []byte {
	bytes := make([]byte, length)
	for i := range bytes {
		bytes[i] = byte(rand.Uint32())
	}
	return bytes
}
