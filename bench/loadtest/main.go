// A media load for a server: publishers send audio and video, all participants receive the tracks of the others, and received
// packets are counted. Prints a line of JSON once all tracks flow, and one with the counts at the end.
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
	// Past it, the load fails.
	flowTimeout = 60 * time.Second
	// Time between the first packets of all tracks and the measurement.
	warmUp = 3 * time.Second
	// Time between the publications of a participant.
	publishInterval = 500 * time.Millisecond
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
	flag.StringVar(&l.url, "url", "", "URL of the server")
	flag.StringVar(&l.key, "key", "", "API key")
	flag.StringVar(&l.secret, "secret", "", "API secret")
	flag.StringVar(&l.room, "room", "load", "room to join")
	flag.IntVar(&l.publishers, "publishers", 2, "participants that publish and subscribe")
	flag.IntVar(&l.viewers, "viewers", 0, "participants that only subscribe")
	flag.IntVar(&l.seconds, "seconds", 10, "duration of the measurement")
	flag.Parse()
	// Failures show in the counts.
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
	// Each track is sent to all participants except its publisher.
	streams := 2 * l.publishers * (l.publishers + l.viewers - 1)
	deadline := time.Now().Add(flowTimeout)
	for l.sinks.count().flowing < int64(streams) {
		if time.Now().After(deadline) {
			return fmt.Errorf("%d of %d tracks flow", l.sinks.count().flowing, streams)
		}
		time.Sleep(50 * time.Millisecond)
	}
	time.Sleep(warmUp)
	before, sentBefore := l.sinks.count(), l.sent()
	begun := time.Now()
	printLine(map[string]any{"event": "begin", "streams": streams})
	time.Sleep(time.Duration(l.seconds) * time.Second)
	after, sent := l.sinks.count(), l.sent()-sentBefore
	after.add(before, -1)
	printLine(map[string]any{
		"event":      "end",
		"streams":    streams,
		"seconds":    time.Since(begun).Seconds(),
		"expected":   sent * int64(l.publishers+l.viewers-1),
		"received":   after.media,
		"duplicates": after.duplicates,
		"padding":    after.padding,
		"lost":       after.lost,
		"bytes":      after.bytes,
	})
	return nil
}

func (l *load) join(index int) error {
	callback := lksdk.NewRoomCallback()
	callback.OnTrackSubscribed = func(track *webrtc.TrackRemote, _ *lksdk.RemoteTrackPublication, _ *lksdk.RemoteParticipant) {
		go l.sinks.read(track)
	}
	info := lksdk.ConnectInfo{
		APIKey:              l.key,
		APISecret:           l.secret,
		RoomName:            l.room,
		ParticipantIdentity: fmt.Sprintf("load-%d", index),
	}
	// Two peer connections, the SDK's default: with a single one, version 2.19.0 fails if the answer arrives within a millisecond
	// of the join response.
	room, err := lksdk.ConnectToRoom(
		l.url, info, callback,
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
	video, err := newVideo()
	audio, err2 := newAudio()
	if err := errors.Join(err, err2); err != nil {
		return err
	}
	for _, each := range []*source{video, audio} {
		options := &lksdk.TrackPublicationOptions{}
		if each == video {
			options.VideoWidth, options.VideoHeight = width, height
		}
		if _, err := room.LocalParticipant.PublishTrack(each.track, options); err != nil {
			return err
		}
		l.sources = append(l.sources, each)
		go each.run(l.stop)
		// Participants are notified of one track at a time.
		time.Sleep(publishInterval)
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

func printLine(line map[string]any) {
	// Encoding a map of numbers and strings cannot fail.
	_ = json.NewEncoder(os.Stdout).Encode(line)
}
