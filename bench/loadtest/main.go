// A load of media on a server: some publish sound and pictures, all are sent those of the others, and what arrives is
// counted. Prints a line of JSON when everything flows, and one with the counts after so many seconds.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"time"

	"github.com/go-logr/logr"
	protoLogger "github.com/livekit/protocol/logger"
	lksdk "github.com/livekit/server-sdk-go/v2"
	"github.com/pion/webrtc/v4"
)

const (
	connectTimeout = 20 * time.Second
	// How long it may take until all tracks flow, and how long they do so before anything is counted.
	flowTimeout = 60 * time.Second
	settling    = 3 * time.Second
	between     = 500 * time.Millisecond
)

type load struct {
	url, key, secret, room string
	publishers, viewers    int
	seconds                int

	sinks   sinks
	sources []*source
	rooms   []*lksdk.Room
	stop    chan struct{}
}

func main() {
	l := load{stop: make(chan struct{})}
	flag.StringVar(&l.url, "url", "", "of the server")
	flag.StringVar(&l.key, "key", "", "its API key")
	flag.StringVar(&l.secret, "secret", "", "its API secret")
	flag.StringVar(&l.room, "room", "load", "which is joined")
	flag.IntVar(&l.publishers, "publishers", 2, "who are sent what the others publish")
	flag.IntVar(&l.viewers, "viewers", 0, "who publish nothing")
	flag.IntVar(&l.seconds, "seconds", 10, "that are counted")
	flag.Parse()
	// What goes wrong shows in the counts.
	lksdk.SetLogger(protoLogger.LogRLogger(logr.Discard()))
	err := l.run()
	close(l.stop)
	for _, room := range l.rooms {
		room.Disconnect()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func (l *load) run() error {
	for i := range l.publishers + l.viewers {
		if err := l.join(i); err != nil {
			return fmt.Errorf("participant %d cannot join: %w", i, err)
		}
	}
	for _, room := range l.rooms[:l.publishers] {
		if err := l.publish(room); err != nil {
			return fmt.Errorf("%s cannot publish: %w", room.LocalParticipant.Identity(), err)
		}
	}
	// Each track goes to all but its publisher.
	streams := 2 * l.publishers * (l.publishers + l.viewers - 1)
	deadline := time.Now().Add(flowTimeout)
	for l.sinks.count().flowing < int64(streams) {
		if time.Now().After(deadline) {
			return fmt.Errorf("%d of %d tracks flow", l.sinks.count().flowing, streams)
		}
		time.Sleep(50 * time.Millisecond)
	}
	time.Sleep(settling)
	before, sentBefore := l.sinks.count(), l.sent()
	begun := time.Now()
	tell(map[string]any{"event": "begin", "streams": streams})
	time.Sleep(time.Duration(l.seconds) * time.Second)
	after, sent := l.sinks.count(), l.sent()-sentBefore
	after.add(before, -1)
	tell(map[string]any{
		"event":    "end",
		"streams":  streams,
		"seconds":  time.Since(begun).Seconds(),
		"expected": sent * int64(l.publishers+l.viewers-1),
		"received": after.media,
		"again":    after.again,
		"padding":  after.padding,
		"lost":     after.lost,
		"bytes":    after.bytes,
	})
	return nil
}

func (l *load) join(index int) error {
	callback := lksdk.NewRoomCallback()
	callback.OnTrackSubscribed = func(track *webrtc.TrackRemote, _ *lksdk.RemoteTrackPublication, _ *lksdk.RemoteParticipant) {
		go l.sinks.read(track)
	}
	who := lksdk.ConnectInfo{
		APIKey:              l.key,
		APISecret:           l.secret,
		RoomName:            l.room,
		ParticipantIdentity: fmt.Sprintf("load-%d", index),
	}
	// Two peer connections, as this SDK has them unless told otherwise: with a single one its 2.19.0 cannot take an answer
	// that comes within a millisecond of the join response.
	room, err := lksdk.ConnectToRoom(
		l.url, who, callback,
		lksdk.WithDisableRegionDiscovery(),
		lksdk.WithConnectTimeout(connectTimeout),
	)
	if err != nil {
		return err
	}
	l.rooms = append(l.rooms, room)
	return nil
}

func (l *load) publish(room *lksdk.Room) error {
	pictures, err := newPictures()
	sound, err2 := newSound()
	if err := errors.Join(err, err2); err != nil {
		return err
	}
	for _, each := range []*source{pictures, sound} {
		options := &lksdk.TrackPublicationOptions{}
		if each == pictures {
			options.VideoWidth, options.VideoHeight = width, height
		}
		if _, err := room.LocalParticipant.PublishTrack(each.track, options); err != nil {
			return err
		}
		l.sources = append(l.sources, each)
		go each.run(l.stop)
		// So that everybody is told of one track at a time.
		time.Sleep(between)
	}
	return nil
}

func (l *load) sent() int64 {
	var sent int64
	for _, each := range l.sources {
		sent += each.sent.Load()
	}
	return sent
}

func tell(line map[string]any) {
	// A map of numbers and names has no way to fail.
	_ = json.NewEncoder(os.Stdout).Encode(line)
}
