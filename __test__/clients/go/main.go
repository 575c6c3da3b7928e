// A participant that uses the Go SDK. Arguments: URL, token. It has no codecs, so it publishes the video and audio that it receives.
// Prints what it receives as JSON, one event per line, and sends each line of its input to the others. Ends when its input ends.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"

	lksdk "github.com/livekit/server-sdk-go/v2"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
)

// Minimum packets of a received track.
const minPackets = 10

func main() {
	if err := run(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(url, token string) error {
	var room *lksdk.Room
	joined := make(chan struct{})
	callback := lksdk.NewRoomCallback()
	callback.OnTrackSubscribed = func(track *webrtc.TrackRemote, _ *lksdk.RemoteTrackPublication, publisher *lksdk.RemoteParticipant) {
		go func() {
			<-joined
			if err := echo(room, track, publisher); err != nil {
				fmt.Fprintln(os.Stderr, "echo:", err)
			}
		}()
	}
	callback.OnDataPacket = func(data lksdk.DataPacket, params lksdk.DataReceiveParams) {
		if packet, ok := data.(*lksdk.UserDataPacket); ok {
			report("data", map[string]string{"identity": params.SenderIdentity, "text": string(packet.Payload)})
		}
	}
	room = lksdk.NewRoom(callback)
	if err := room.JoinWithToken(url, token, lksdk.WithDisableRegionDiscovery()); err != nil {
		return err
	}
	defer room.Disconnect()
	close(joined)
	report("joined", nil)
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		packet := lksdk.UserData(lines.Bytes())
		if err := room.LocalParticipant.PublishDataPacket(packet, lksdk.WithDataPublishReliable(true)); err != nil {
			return err
		}
	}
	return nil
}

// echo publishes a copy of a remote track, and forwards keyframe requests to its publisher.
func echo(room *lksdk.Room, remote *webrtc.TrackRemote, publisher *lksdk.RemoteParticipant) error {
	onRTCP := func(packet rtcp.Packet) {
		if _, ok := packet.(*rtcp.PictureLossIndication); ok {
			publisher.WritePLI(remote.SSRC())
		}
	}
	codec := remote.Codec()
	capability := webrtc.RTPCodecCapability{MimeType: codec.MimeType, ClockRate: codec.ClockRate, Channels: codec.Channels}
	local, err := lksdk.NewLocalTrack(capability, lksdk.WithRTCPHandler(onRTCP))
	if err != nil {
		return err
	}
	if _, err := room.LocalParticipant.PublishTrack(local, &lksdk.TrackPublicationOptions{}); err != nil {
		return err
	}
	for received := 1; ; received++ {
		packet, _, err := remote.ReadRTP()
		if err != nil {
			return err
		}
		if received == minPackets {
			report(remote.Kind().String(), publisher.Identity())
		}
		// Header extensions have other ids on the publishing connection.
		header := rtp.Header{Version: 2, Marker: packet.Marker, SequenceNumber: packet.SequenceNumber, Timestamp: packet.Timestamp}
		if err := local.WriteRTP(&rtp.Packet{Header: header, Payload: packet.Payload}, nil); err != nil {
			return err
		}
	}
}

func report(event string, detail any) {
	// Encoding maps of strings cannot fail.
	_ = json.NewEncoder(os.Stdout).Encode(map[string]any{"event": event, "detail": detail})
}
