package main

import (
	"sync"

	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
)

// Packets that are reordered by more than this count as lost.
const window = 1024

// sinks are the received tracks of all participants.
type sinks struct {
	mutex sync.Mutex
	all   []*sink
}

// sink counts the packets of one received track.
type sink struct {
	mutex sync.Mutex
	count count
	// The newest sequence number, and which of the last window numbers have arrived, by number modulo window.
	newest uint16
	seen   [window]bool
}

// count has the received packets: media, duplicates and padding, and the sequence numbers that have not arrived.
type count struct {
	flowing, media, duplicates, padding, bytes, lost int64
}

func (s *sinks) read(track *webrtc.TrackRemote) {
	received := &sink{}
	s.mutex.Lock()
	s.all = append(s.all, received)
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
		received.add(header.SequenceNumber, payload)
	}
}

func (s *sink) add(number uint16, payload int) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if s.count.flowing == 0 {
		s.count.flowing = 1
		s.newest = number - 1
	}
	s.count.bytes += int64(payload)
	ahead := int16(number - s.newest)
	if ahead <= -window {
		s.count.duplicates++
		return
	}
	// Skipped numbers count as lost until they arrive.
	for ; ahead > 0; ahead-- {
		s.newest++
		s.seen[s.newest%window] = false
		s.count.lost++
	}
	switch seen := &s.seen[number%window]; {
	case *seen:
		s.count.duplicates++
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
	c.duplicates += times * other.duplicates
	c.padding += times * other.padding
	c.bytes += times * other.bytes
	c.lost += times * other.lost
}
