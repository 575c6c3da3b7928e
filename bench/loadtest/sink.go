package main

import (
	"sync"

	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
)

// What comes later than that many packets is taken for lost.
const window = 1024

// sinks are all tracks that anybody is sent.
type sinks struct {
	mutex sync.Mutex
	all   []*sink
}

// sink counts the packets of one.
type sink struct {
	mutex sync.Mutex
	count count
	// The newest number, and those that have come lately, each at its place in the window.
	newest uint16
	seen   [window]bool
}

// count is what has come: media once each, whatever else a server sends of it to fill the line, and numbers without a packet.
type count struct {
	flowing, media, again, padding, bytes, lost int64
}

func (s *sinks) read(track *webrtc.TrackRemote) {
	mine := &sink{}
	s.mutex.Lock()
	s.all = append(s.all, mine)
	s.mutex.Unlock()
	buffer := make([]byte, 1500)
	var header rtp.Header
	for {
		length, _, err := track.Read(buffer)
		if err != nil {
			return
		}
		at, err := header.Unmarshal(buffer[:length])
		if err != nil {
			continue
		}
		payload := length - at
		if header.Padding {
			payload -= int(buffer[length-1])
		}
		mine.note(header.SequenceNumber, payload)
	}
}

func (s *sink) note(number uint16, payload int) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if s.count.flowing == 0 {
		s.count.flowing = 1
		s.newest = number - 1
	}
	s.count.bytes += int64(payload)
	ahead := int16(number - s.newest)
	if ahead <= -window {
		s.count.again++
		return
	}
	// Numbers that are passed over are lost until they come.
	for ; ahead > 0; ahead-- {
		s.newest++
		s.seen[s.newest%window] = false
		s.count.lost++
	}
	switch seen := &s.seen[number%window]; {
	case *seen:
		s.count.again++
		return
	default:
		*seen = true
		s.count.lost--
	}
	if payload > 0 {
		s.count.media++
	} else {
		s.count.padding++
	}
}

func (s *sinks) count() count {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	var total count
	for _, each := range s.all {
		each.mutex.Lock()
		total.add(each.count, 1)
		each.mutex.Unlock()
	}
	return total
}

func (c *count) add(other count, times int64) {
	c.flowing += times * other.flowing
	c.media += times * other.media
	c.again += times * other.again
	c.padding += times * other.padding
	c.bytes += times * other.bytes
	c.lost += times * other.lost
}
