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

	// 30 pictures a second of 2,500 bytes are 600 kbit/s, in 90 packets.
	pictureEvery = time.Second / 30
	pictureBytes = 2500
	keyBytes     = 3 * pictureBytes
	width        = 640
	height       = 360

	soundEvery = 20 * time.Millisecond
	soundBytes = 80
	// How loud it is, in decibels below the loudest.
	soundLevel = 30
)

// source is a published track and what it is made of. Servers look no further than at the beginning of a picture, and
// nobody decodes it, so the rest is noise.
type source struct {
	track      *lksdk.LocalTrack
	every      time.Duration
	samples    uint32
	packetizer rtp.Packetizer
	frame      func() []byte
	options    *lksdk.SampleWriteOptions
	sent       atomic.Int64
}

func newPictures() (*source, error) {
	// The first picture is whole, and each one after a subscriber's wish.
	wanted := &atomic.Bool{}
	wanted.Store(true)
	heard := lksdk.WithRTCPHandler(func(packet rtcp.Packet) {
		switch packet.(type) {
		case *rtcp.PictureLossIndication, *rtcp.FullIntraRequest:
			wanted.Store(true)
		}
	})
	capability := webrtc.RTPCodecCapability{
		MimeType:     webrtc.MimeTypeVP8,
		ClockRate:    90_000,
		RTCPFeedback: []webrtc.RTCPFeedback{{Type: "nack"}, {Type: "nack", Parameter: "pli"}},
	}
	track, err := lksdk.NewLocalTrack(capability, heard)
	if err != nil {
		return nil, err
	}
	key, delta := vp8Frame(keyBytes, true), vp8Frame(pictureBytes, false)
	frame := func() []byte {
		if wanted.Swap(false) {
			return key
		}
		return delta
	}
	payloader := &codecs.VP8Payloader{EnablePictureID: true}
	packetizer := rtp.NewPacketizer(mtu, 0, 0, payloader, rtp.NewRandomSequencer(), capability.ClockRate)
	return &source{track: track, every: pictureEvery, samples: 3000, packetizer: packetizer, frame: frame}, nil
}

func newSound() (*source, error) {
	capability := webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeOpus, ClockRate: 48_000, Channels: 2}
	track, err := lksdk.NewLocalTrack(capability)
	if err != nil {
		return nil, err
	}
	bytes := noise(soundBytes)
	// One frame of 20 ms in one packet, as browsers send it.
	bytes[0] = 0x78
	packetizer := rtp.NewPacketizer(mtu, 0, 0, &codecs.OpusPayloader{}, rtp.NewRandomSequencer(), capability.ClockRate)
	level := uint8(soundLevel)
	options := &lksdk.SampleWriteOptions{AudioLevel: &level}
	frame := func() []byte { return bytes }
	return &source{track: track, every: soundEvery, samples: 960, packetizer: packetizer, frame: frame, options: options}, nil
}

// run sends until it is told to stop.
func (s *source) run(stop <-chan struct{}) {
	// Not everybody's pictures come at the same moment.
	time.Sleep(rand.N(s.every))
	ticker := time.NewTicker(s.every)
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

// vp8Frame is a frame by its header (RFC 6386, section 9.1).
func vp8Frame(length int, isKey bool) []byte {
	frame := noise(length)
	// Shown, and of version 0; the lowest bit says that it is no key frame.
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
