package webrtc

// EnableSped does nothing. LiveKit's fork of this package has the method; livekit-server calls it only under
// `rtc.enable_warp`, which is off by default.
func (e *SettingEngine) EnableSped(bool) {}
