//go:build tools

// Package servers names the programs that test-support/go.mjs builds, so that go.mod lists what they need.
package servers

import (
	_ "github.com/livekit/livekit-server/cmd/server"
	_ "github.com/livekit/livekit-server/cmd/test-server"
)
